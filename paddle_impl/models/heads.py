"""The head that FCN, PSPNet, DeepLab and GloRe share, as main or as auxiliary classifier."""

import paddle
import paddle.nn.functional as F
from paddle import nn

from paddle_impl.layers import BatchNorm2D, fan_in_uniform_


class FCNHead(nn.Sequential):
    """3x3 convolution, BatchNorm, ReLU, dropout, 1x1 to the classes. -> [N, num_classes, h, w].

    `dropout` is the layer: torchvision drops single values, semseg whole channels.
    Names: torchvision, models/segmentation/fcn.py; hszhao/semseg, model/pspnet.py.
    """

    def __init__(
        self, in_channels: int, mid_channels: int, num_classes: int, dropout: nn.Layer
    ) -> None:
        super().__init__(
            nn.Conv2D(in_channels, mid_channels, 3, padding=1, bias_attr=False),
            BatchNorm2D(mid_channels),
            nn.ReLU(),
            dropout,
            nn.Conv2D(mid_channels, num_classes, 1),
        )


def init_head(head: nn.Layer) -> None:
    """Initialise every convolution of `head` as torch does by default."""
    for layer in head.sublayers(include_self=True):
        if isinstance(layer, (nn.Conv1D, nn.Conv2D)):
            fan_in_uniform_(layer.weight, layer.bias)


def resize(logits: paddle.Tensor, image: paddle.Tensor) -> paddle.Tensor:
    """Resize `logits` [N, C, h, w] to the height and width of `image`."""
    return F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)
