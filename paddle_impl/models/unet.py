"""U-Net (Ronneberger, Fischer and Brox, MICCAI 2015, figure 1), with BatchNorm and padding.

Names are those of the released files (milesial/Pytorch-UNet, unet/unet_parts.py, unet_model.py).
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.errors import ConfigError
from common.shapes import first_width
from paddle_impl.layers import BatchNorm2D, fan_in_uniform_, resize_bilinear
from paddle_impl.models.unet_yassouali import YassoualiUNet


class DoubleConv(nn.Layer):
    """Twice: 3x3 convolution, BatchNorm, ReLU. [N, in, H, W] -> [N, out, H, W]."""

    def __init__(
        self, in_channels: int, out_channels: int, mid_channels: int, conv_bias: bool
    ) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2D(in_channels, mid_channels, 3, padding=1, bias_attr=conv_bias),
            BatchNorm2D(mid_channels),
            nn.ReLU(),
            nn.Conv2D(mid_channels, out_channels, 3, padding=1, bias_attr=conv_bias),
            BatchNorm2D(out_channels),
            nn.ReLU(),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the features of `x` at its own resolution."""
        return self.double_conv(x)


class Down(nn.Layer):
    """Halves the resolution (an odd last row or column is lost), then `DoubleConv`."""

    def __init__(self, in_channels: int, out_channels: int, conv_bias: bool) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(
            nn.MaxPool2D(2, stride=2),
            DoubleConv(in_channels, out_channels, out_channels, conv_bias),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return [N, out, H // 2, W // 2] of `x` [N, in, H, W]."""
        return self.maxpool_conv(x)


class Upsample(nn.Layer):
    """Doubles the resolution bilinearly, first and last pixels kept. [N, C, H, W] -> 2H, 2W."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return [N, C, 2 * H, 2 * W] of `x` [N, C, H, W]."""
        return resize_bilinear(x, [2 * x.shape[2], 2 * x.shape[3]], align_corners=True)


class Up(nn.Layer):
    """Doubles the resolution, joins the skip connection, then `DoubleConv`."""

    def __init__(
        self, in_channels: int, out_channels: int, bilinear: bool, conv_bias: bool
    ) -> None:
        super().__init__()
        half = in_channels // 2
        if bilinear:
            self.up: nn.Layer = Upsample()
            self.conv = DoubleConv(in_channels, out_channels, half, conv_bias)
        else:
            self.up = nn.Conv2DTranspose(in_channels, half, 2, stride=2)
            self.conv = DoubleConv(in_channels, out_channels, out_channels, conv_bias)

    def forward(self, x: paddle.Tensor, skip: paddle.Tensor) -> paddle.Tensor:
        """Return [N, out, H, W] of `x` [N, c, h, w] and `skip` [N, in - c, H, W]; 2 h <= H.

        Where the pool lost a row or column, zeros are put in its place; the skip comes first.
        """
        x = self.up(x)
        rows, columns = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        left, top = columns // 2, rows // 2
        x = F.pad(x, [left, columns - left, top, rows - top])
        return self.conv(paddle.concat([skip, x], axis=1))


class OutConv(nn.Layer):
    """1x1 convolution. [N, in, H, W] -> logits [N, num_classes, H, W]."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(in_channels, num_classes, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits at the resolution of `x`."""
        return self.conv(x)


class UNet(nn.Layer):
    """U-Net. Image [N, n_channels, H, W] float32, RGB, 0..1, H and W at least 16.

    Returns logits [N, num_classes, H, W]. One class means two: the logit of the foreground.

    Args:
        bilinear: upsample bilinearly instead of by transposed convolutions, with half the
            channels at the bottom.
        conv_bias: convolutions in front of a BatchNorm have a bias, as in the releases before
            v3.0.
        base: channels of the first stage.
    """

    def __init__(
        self,
        num_classes: int = 2,
        n_channels: int = 3,
        bilinear: bool = False,
        conv_bias: bool = False,
        base: int = 64,
    ) -> None:
        super().__init__()
        factor = 2 if bilinear else 1
        self.inc = DoubleConv(n_channels, base, base, conv_bias)
        self.down1 = Down(base, base * 2, conv_bias)
        self.down2 = Down(base * 2, base * 4, conv_bias)
        self.down3 = Down(base * 4, base * 8, conv_bias)
        self.down4 = Down(base * 8, base * 16 // factor, conv_bias)
        self.up1 = Up(base * 16, base * 8 // factor, bilinear, conv_bias)
        self.up2 = Up(base * 8, base * 4 // factor, bilinear, conv_bias)
        self.up3 = Up(base * 4, base * 2 // factor, bilinear, conv_bias)
        self.up4 = Up(base * 2, base, bilinear, conv_bias)
        self.outc = OutConv(base, num_classes)
        self.init_weight()

    def init_weight(self) -> None:
        """Initialise as the authors do, who leave it to torch: uniform by fan-in."""
        for layer in self.sublayers():
            if isinstance(layer, nn.Conv2D | nn.Conv2DTranspose):
                fan_in_uniform_(layer.weight, layer.bias)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits [N, num_classes, H, W] of the image `x` [N, n_channels, H, W]."""
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x5 = self.down4(x4)
        out = self.up1(x5, x4)
        out = self.up2(out, x3)
        out = self.up3(out, x2)
        out = self.up4(out, x1)
        return self.outc(out)


def unet(
    num_classes: int = 2,
    n_channels: int = 3,
    bilinear: bool = False,
    conv_bias: bool = False,
    yassouali: bool = False,
    width: float = 1.0,
) -> UNet | YassoualiUNet:
    """Build U-Net; `width` scales all channels but those of image and classes.

    yassouali: the net of that name's template, which has neither of the other two options.
    Raises ConfigError for `yassouali` with one of them.
    """
    base = first_width(width)
    if not yassouali:
        return UNet(num_classes, n_channels, bilinear, conv_bias, base)
    if bilinear or conv_bias:
        raise ConfigError("yassouali=True goes with neither bilinear=True nor conv_bias=True")
    return YassoualiUNet(num_classes, n_channels, base)
