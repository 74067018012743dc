"""U-Net as yassouali/pytorch-segmentation has it (models/unet.py): another net than milesial's.

Names are that template's but for the last layer, `outc.conv` instead of `final_conv`.
"""

import paddle
from paddle import nn

from paddle_impl.layers import BatchNorm2D, fan_in_uniform_, kaiming_normal_, resize_bilinear


def x2conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice: 3x3 convolution, BatchNorm, ReLU; half the channels in between."""
    inner = out_channels // 2
    return nn.Sequential(
        nn.Conv2D(in_channels, inner, 3, padding=1, bias_attr=False),
        BatchNorm2D(inner),
        nn.ReLU(),
        nn.Conv2D(inner, out_channels, 3, padding=1, bias_attr=False),
        BatchNorm2D(out_channels),
        nn.ReLU(),
    )


class Encoder(nn.Layer):
    """Convolutions, then a pool that keeps odd rows. [N, in, H, W] -> [N, 2 * in, H / 2, W / 2]."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.down_conv = x2conv(in_channels, in_channels * 2)
        self.pool = nn.MaxPool2D(2, stride=2, ceil_mode=True)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return pool(convolutions(x))."""
        return self.pool(self.down_conv(x))


class Decoder(nn.Layer):
    """Doubles the resolution, resizes to the skip connection, joins it, then convolutions."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        half = in_channels // 2
        self.up = nn.Conv2DTranspose(in_channels, half, 2, stride=2)
        self.up_conv = x2conv(in_channels, half)

    def forward(self, skip: paddle.Tensor, x: paddle.Tensor) -> paddle.Tensor:
        """Return [N, in / 2, H, W] of `skip` [N, in / 2, H, W] and `x` [N, in, h, w]."""
        x = self.up(x)
        if x.shape[2:] != skip.shape[2:]:
            x = resize_bilinear(x, skip.shape[2:], align_corners=True)
        return self.up_conv(paddle.concat([skip, x], axis=1))


class LastConv(nn.Layer):
    """1x1 convolution. [N, in, H, W] -> logits [N, num_classes, H, W]."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(in_channels, num_classes, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits at the resolution of `x`."""
        return self.conv(x)


class YassoualiUNet(nn.Layer):
    """U-Net of the template. Image [N, n_channels, H, W] float32, RGB, normalised, from 1x1.

    Returns logits [N, num_classes, H, W]. `base`: channels of the first stage, even.
    """

    def __init__(self, num_classes: int = 2, n_channels: int = 3, base: int = 64) -> None:
        super().__init__()
        self.start_conv = x2conv(n_channels, base)
        self.down1 = Encoder(base)
        self.down2 = Encoder(base * 2)
        self.down3 = Encoder(base * 4)
        self.down4 = Encoder(base * 8)
        self.middle_conv = x2conv(base * 16, base * 16)
        self.up1 = Decoder(base * 16)
        self.up2 = Decoder(base * 8)
        self.up3 = Decoder(base * 4)
        self.up4 = Decoder(base * 2)
        self.outc = LastConv(base, num_classes)
        self.init_weight()

    def init_weight(self) -> None:
        """Initialise as the template does: He for convolutions, torch's default for the rest."""
        for layer in self.sublayers():
            if isinstance(layer, nn.Conv2D):
                kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.initializer.Constant(0.0)(layer.bias)
            elif isinstance(layer, nn.Conv2DTranspose):
                fan_in_uniform_(layer.weight, layer.bias)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits [N, num_classes, H, W] of the image `x` [N, n_channels, H, W]."""
        x1 = self.start_conv(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        out = self.middle_conv(self.down4(x4))
        out = self.up1(x4, out)
        out = self.up2(x3, out)
        out = self.up3(x2, out)
        out = self.up4(x1, out)
        return self.outc(out)
