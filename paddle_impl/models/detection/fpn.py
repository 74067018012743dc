"""Feature pyramid (Lin et al., CVPR 2017): laterals, top-down sums, 3x3 convolutions.

Names of `FPN` are those of MMDetection (mmdet/models/necks/fpn.py): every convolution is a `conv`
in a module of its own. Those of `BlockFPN` are torchvision's (ops/feature_pyramid_network.py).
"""

import math
from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from paddle_impl.layers import BatchNorm2D, named_sequential


class FPN(nn.Layer):
    """Pyramid of one level more than it is given, each of `out_ch` channels, without ReLU.

    Takes [N, in_chs[i], H / s, W / s] from fine to coarse. The last level is every second value
    of the one before it.
    """

    def __init__(self, in_chs: Sequence[int], out_ch: int) -> None:
        super().__init__()
        self.lateral_convs = nn.LayerList([bare_conv(in_ch, out_ch, 1) for in_ch in in_chs])
        self.fpn_convs = nn.LayerList([bare_conv(out_ch, out_ch, 3) for _ in in_chs])

    def forward(self, features: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """Return the levels of `features`, fine to coarse, and the one more."""
        return pyramid(features, self.lateral_convs, self.fpn_convs)


class BlockFPN(nn.Layer):
    """The same pyramid in torchvision's names; with `norm` every convolution has a BatchNorm."""

    def __init__(self, in_chs: Sequence[int], out_ch: int, norm: bool) -> None:
        super().__init__()
        self.inner_blocks = nn.LayerList([block(in_ch, out_ch, 1, norm) for in_ch in in_chs])
        self.layer_blocks = nn.LayerList([block(out_ch, out_ch, 3, norm) for _ in in_chs])

    def forward(self, features: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """Return the levels of `features`, fine to coarse, and the one more."""
        return pyramid(features, self.inner_blocks, self.layer_blocks)


def pyramid(
    features: Sequence[paddle.Tensor], laterals: nn.LayerList, outputs: nn.LayerList
) -> list[paddle.Tensor]:
    """Return `features` through `laterals`, their sums and `outputs`, and one level more."""
    maps = [conv(x) for conv, x in zip(laterals, features, strict=True)]
    for i in range(len(maps) - 1, 0, -1):
        size = list(maps[i - 1].shape[2:])
        maps[i - 1] = maps[i - 1] + F.interpolate(maps[i], size=size, mode="nearest")
    levels = [conv(x) for conv, x in zip(outputs, maps, strict=True)]
    return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]


def bare_conv(in_ch: int, out_ch: int, size: int) -> nn.Sequential:
    """Return a convolution with bias, Glorot-uniform, that keeps height and width."""
    conv = nn.Conv2D(in_ch, out_ch, size, padding=size // 2)
    nn.initializer.XavierUniform()(conv.weight)
    nn.initializer.Constant(0.0)(conv.bias)
    return named_sequential({"conv": conv})


def block(in_ch: int, out_ch: int, size: int, norm: bool) -> nn.Sequential:
    """Return a convolution that keeps height and width, with a bias or, if `norm`, BatchNorm."""
    conv = nn.Conv2D(in_ch, out_ch, size, padding=size // 2, bias_attr=False if norm else None)
    bound = math.sqrt(3 / (in_ch * size * size))
    nn.initializer.Uniform(-bound, bound)(conv.weight)
    if conv.bias is None:
        return nn.Sequential(conv, BatchNorm2D(out_ch))
    nn.initializer.Constant(0.0)(conv.bias)
    return nn.Sequential(conv)
