"""The Caffe ResNet of the DeepLab releases: stride on the 1x1 convolution, pooling rounded up.

Names are those of kazuto1011/deeplab-pytorch (libs/models/resnet.py).
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from paddle_impl.layers import BatchNorm2D, named_sequential

EXPANSION = 4
# The authors keep 0.999 of the old statistics (torch's momentum is the share of the new).
KEPT = 0.999


class ConvBnReLU(nn.Layer):
    """Convolution without bias, BatchNorm, ReLU if asked for. [N, in, H, W] -> [N, out, h, w]."""

    def __init__(
        self,
        in_ch: int,
        out_ch: int,
        kernel_size: int = 1,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            in_ch,
            out_ch,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            bias_attr=False,
        )
        self.bn = BatchNorm2D(out_ch, momentum=KEPT)
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return relu(bn(conv(x)))."""
        return self.relu(self.bn(self.conv(x)))


class MsraBottleneck(nn.Layer):
    """1x1, 3x3, 1x1 convolutions and a shortcut. [N, in, H, W] -> [N, out, H / s, W / s]."""

    def __init__(
        self, in_ch: int, out_ch: int, stride: int, dilation: int, downsample: bool
    ) -> None:
        super().__init__()
        mid_ch = out_ch // EXPANSION
        self.reduce = ConvBnReLU(in_ch, mid_ch, stride=stride)
        self.conv3x3 = ConvBnReLU(mid_ch, mid_ch, 3, padding=dilation, dilation=dilation)
        self.increase = ConvBnReLU(mid_ch, out_ch, relu=False)
        self.shortcut: nn.Layer = nn.Identity()
        if downsample:
            self.shortcut = ConvBnReLU(in_ch, out_ch, stride=stride, relu=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return relu(residual(x) + shortcut(x))."""
        return F.relu(self.increase(self.conv3x3(self.reduce(x))) + self.shortcut(x))


def stem(out_ch: int) -> nn.Sequential:
    """Return the 7x7 stem. [N, 3, H, W] -> [N, out, about H/4, W/4], rounded up."""
    return named_sequential(
        {
            "conv1": ConvBnReLU(3, out_ch, 7, stride=2, padding=3),
            "pool": nn.MaxPool2D(3, stride=2, padding=1, ceil_mode=True),
        }
    )


def make_stage(
    in_ch: int, out_ch: int, blocks: int, stride: int, dilation: int, grid: tuple[int, ...] = ()
) -> nn.Sequential:
    """Return a stage: [N, in, H, W] -> [N, out, H / stride, W / stride].

    Every block has the dilation, the first one too; `grid` multiplies it block by block.
    """
    grid = grid or (1,) * blocks
    return named_sequential(
        {
            f"block{index + 1}": MsraBottleneck(
                out_ch if index else in_ch,
                out_ch,
                1 if index else stride,
                dilation * grid[index],
                downsample=index == 0,
            )
            for index in range(blocks)
        }
    )
