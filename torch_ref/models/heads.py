"""The head that FCN, PSPNet, DeepLab and GloRe share, as main or as auxiliary classifier."""

import torch
import torch.nn.functional as F
from torch import nn

from torch_ref.layers import BatchNorm2d, fan_in_uniform_


class FCNHead(nn.Sequential):
    """3x3 convolution, BatchNorm, ReLU, dropout, 1x1 to the classes. -> [N, num_classes, h, w].

    `dropout` is the layer: torchvision drops single values, semseg whole channels.
    Names: torchvision, models/segmentation/fcn.py; hszhao/semseg, model/pspnet.py.
    """

    def __init__(
        self, in_channels: int, mid_channels: int, num_classes: int, dropout: nn.Module
    ) -> None:
        super().__init__(
            nn.Conv2d(in_channels, mid_channels, 3, padding=1, bias=False),
            BatchNorm2d(mid_channels),
            nn.ReLU(),
            dropout,
            nn.Conv2d(mid_channels, num_classes, 1),
        )


def init_head(head: nn.Module) -> None:
    """Initialise every convolution of `head` as torch does by default."""
    for layer in head.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
            fan_in_uniform_(layer.weight, layer.bias)


def resize(logits: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Resize `logits` [N, C, h, w] to the height and width of `image`."""
    return F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)
