"""Feature pyramid (Lin et al., CVPR 2017): laterals, top-down sums, 3x3 convolutions.

Names are those of MMDetection (mmdet/models/necks/fpn.py): every convolution is a `conv` in a
module of its own.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from torch_ref.layers import named_sequential


class FPN(nn.Module):
    """Pyramid of one level more than it is given, each of `out_ch` channels, without ReLU.

    Takes [N, in_chs[i], H / s, W / s] from fine to coarse. The last level is every second value
    of the one before it.
    """

    def __init__(self, in_chs: Sequence[int], out_ch: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList([bare_conv(in_ch, out_ch, 1) for in_ch in in_chs])
        self.fpn_convs = nn.ModuleList([bare_conv(out_ch, out_ch, 3) for _ in in_chs])

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the levels of `features`, fine to coarse, and the one more."""
        maps = [conv(x) for conv, x in zip(self.lateral_convs, features, strict=True)]
        for i in range(len(maps) - 1, 0, -1):
            size = list(maps[i - 1].shape[2:])
            maps[i - 1] = maps[i - 1] + F.interpolate(maps[i], size=size, mode="nearest")
        levels = [conv(x) for conv, x in zip(self.fpn_convs, maps, strict=True)]
        return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]


def bare_conv(in_ch: int, out_ch: int, size: int) -> nn.Sequential:
    """Return a convolution with bias, Glorot-uniform, that keeps height and width."""
    conv = nn.Conv2d(in_ch, out_ch, size, padding=size // 2)
    weight, bias = conv.parameters()
    nn.init.xavier_uniform_(weight)
    nn.init.zeros_(bias)
    return named_sequential({"conv": conv})
