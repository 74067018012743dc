"""Atrous spatial pyramid pooling: DeepLabV2 (Chen et al., TPAMI 2018, figure 7) and DeepLabV3
(Chen et al., arXiv 1706.05587, figure 5), in the names of both sources.

The branches are concatenated in one order in both: 1x1, the atrous ones, image pooling.
"""

from typing import Any

import paddle
from paddle import nn

from paddle_impl.layers import BatchNorm2D, resize_bilinear
from paddle_impl.models.backbones.resnet_msra import ConvBnReLU


class SummedASPP(nn.Layer):
    """DeepLabV2's: dilated 3x3 convolutions to the classes, summed. -> [N, num_classes, h, w].

    Names: kazuto1011/deeplab-pytorch, libs/models/deeplabv2.py.
    """

    def __init__(self, in_ch: int, num_classes: int, rates: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.c0 = nn.Conv2D(in_ch, num_classes, 3, padding=rates[0], dilation=rates[0])
        self.c1 = nn.Conv2D(in_ch, num_classes, 3, padding=rates[1], dilation=rates[1])
        self.c2 = nn.Conv2D(in_ch, num_classes, 3, padding=rates[2], dilation=rates[2])
        self.c3 = nn.Conv2D(in_ch, num_classes, 3, padding=rates[3], dilation=rates[3])
        self.init_weight()

    def init_weight(self) -> None:
        """Initialise as the authors do: N(0, 0.01), no bias."""
        for layer in (self.c0, self.c1, self.c2, self.c3):
            nn.initializer.Normal(0.0, 0.01)(layer.weight)
            if layer.bias is not None:
                nn.initializer.Constant(0.0)(layer.bias)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits at the resolution of `x`."""
        return self.c0(x) + self.c1(x) + self.c2(x) + self.c3(x)


class ImagePool(nn.Layer):
    """Global average, 1x1 ConvBnReLU, back to the map's size. [N, in, h, w] -> [N, out, h, w]."""

    def __init__(self, in_ch: int, out_ch: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.conv = ConvBnReLU(in_ch, out_ch)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return one value per channel, at every pixel of `x`."""
        return resize_bilinear(self.conv(self.pool(x)), x.shape[2:])


class ASPP(nn.Layer):
    """DeepLabV3's, without the projection. [N, in, h, w] -> [N, out * (rates + 2), h, w].

    Names: kazuto1011/deeplab-pytorch, libs/models/deeplabv3.py.
    """

    def __init__(self, in_ch: int, out_ch: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        stages: dict[str, nn.Layer] = {"c0": ConvBnReLU(in_ch, out_ch)}
        for index, rate in enumerate(rates):
            stages[f"c{index + 1}"] = ConvBnReLU(in_ch, out_ch, 3, padding=rate, dilation=rate)
        stages["imagepool"] = ImagePool(in_ch, out_ch)
        self.stages = nn.LayerDict(stages)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the concatenation of all branches."""
        return paddle.concat([stage(x) for stage in self.stages.values()], axis=1)


class TorchvisionImagePool(nn.Sequential):
    """`ImagePool` in torchvision's names (models/segmentation/deeplabv3.py, ASPPPooling)."""

    def __init__(self, in_ch: int, out_ch: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2D(1), *conv_bn_relu(in_ch, out_ch))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return one value per channel, at every pixel of `x`."""
        return resize_bilinear(super().forward(x), x.shape[2:])


class TorchvisionASPP(nn.Layer):
    """DeepLabV3's, with projection and dropout. [N, in, h, w] -> [N, out, h, w].

    `image_pool` stands in place of `TorchvisionImagePool`.
    Names: torchvision, models/segmentation/deeplabv3.py.
    """

    def __init__(
        self,
        in_ch: int,
        out_ch: int,
        rates: tuple[int, ...],
        image_pool: nn.Layer | None = None,
    ) -> None:
        super().__init__()
        self.convs = nn.LayerList([nn.Sequential(*conv_bn_relu(in_ch, out_ch))])
        for rate in rates:
            self.convs.append(nn.Sequential(*conv_bn_relu(in_ch, out_ch, 3, rate)))
        self.convs.append(image_pool or TorchvisionImagePool(in_ch, out_ch))
        self.project = nn.Sequential(
            *conv_bn_relu(out_ch * len(self.convs), out_ch), nn.Dropout(0.5)
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the projected concatenation of all branches."""
        return self.project(paddle.concat([conv(x) for conv in self.convs], axis=1))


def image_average(window: tuple[int, int] | None) -> nn.Layer:
    """Return the average of a map, or with `window` (height, width) of every window of it."""
    return nn.AvgPool2D(window, stride=1) if window else nn.AdaptiveAvgPool2D(1)


def conv_bn_relu(
    in_ch: int, out_ch: int, kernel_size: int = 1, dilation: int = 1, groups: int = 1
) -> list:
    """Return a convolution without bias that keeps the size, its BatchNorm, and ReLU."""
    padding = dilation * (kernel_size // 2)
    sizes: dict[str, Any] = {"padding": padding, "dilation": dilation, "groups": groups}
    return [
        nn.Conv2D(in_ch, out_ch, kernel_size, bias_attr=False, **sizes),
        BatchNorm2D(out_ch),
        nn.ReLU(),
    ]
