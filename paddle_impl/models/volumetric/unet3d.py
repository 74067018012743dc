"""3D U-Net (Çiçek et al., MICCAI 2016) and residual 3D U-Net (Lee et al., arXiv 1706.00120).

Names, layers and orders are those of wolny/pytorch-3dunet, pytorch3dunet/unet3d/model.py,
buildingblocks.py and se.py, whose files hold them. Both return logits in both modes; the authors'
nets apply a sigmoid or softmax themselves.
"""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.errors import ConfigError
from common.shapes import check_volume, first_width
from paddle_impl.layers import (
    BatchNorm3D,
    GroupNorm,
    LeakyReLU,
    fan_in_uniform_,
    maximum,
    named_sequential,
)

GROUPS = 8  # of GroupNorm; one where there are fewer channels
DROPPED = 0.1  # share of what the letters d and D drop
LETTERS = "gbcreldD"
UPSAMPLES = ("nearest", "deconv")
EXCITATIONS = ("scse", "cse", "sse")


def single_conv(in_channels: int, out_channels: int, order: str) -> nn.Sequential:
    """Return the layers that `order` spells, one letter each. [N, in, ...] -> [N, out, ...].

    c: 3x3x3 convolution, with a bias where neither g nor b stands; g: GroupNorm; b: BatchNorm;
    r: ReLU; l: LeakyReLU of 0.01; e: ELU; d: dropout of voxels; D: of channels.
    Raises ConfigError for GroupNorm of a number of channels that 8 does not divide.
    """
    layers: dict[str, nn.Layer] = {}
    for place, letter in enumerate(order):
        channels = in_channels if place < order.index("c") else out_channels
        if letter == "c":
            bias = not set(order) & {"g", "b"}
            layers["conv"] = nn.Conv3D(in_channels, out_channels, 3, padding=1, bias_attr=bias)
        elif letter == "g":
            layers["groupnorm"] = group_norm(channels)
        elif letter == "b":
            layers["batchnorm"] = BatchNorm3D(channels)
        elif letter == "d":
            layers["dropout"] = nn.Dropout(DROPPED)
        elif letter == "D":
            layers["dropout2d"] = nn.Dropout3D(DROPPED)
        else:
            name = {"r": "ReLU", "l": "LeakyReLU", "e": "ELU"}[letter]
            layers[name] = LeakyReLU() if name == "LeakyReLU" else getattr(nn, name)()
    return named_sequential(layers)


def group_norm(channels: int) -> GroupNorm:
    """Return GroupNorm of 8 groups, of one where there are fewer than 8 channels."""
    groups = GROUPS if channels >= GROUPS else 1
    if channels % groups:
        raise ConfigError(
            f"GroupNorm of {channels} channels does not have {GROUPS} equal groups; set a width "
            "of multiples of 1/8"
        )
    return GroupNorm(groups, channels)


def checked_order(order: str) -> str:
    """Return `order`; ConfigError where no convolution can be made of it."""
    known = isinstance(order, str) and set(order) <= set(LETTERS) and "c" in order
    if not known or len(set(order)) < len(order) or order[0] in "rle":
        raise ConfigError(
            f"order is {order!r}; write c, once, with letters of {LETTERS} around it, each once "
            "and no activation first: gcr, say"
        )
    return order


def checked_levels(num_levels: int) -> int:
    """Return `num_levels`; ConfigError unless it is a whole number of at least 2."""
    if type(num_levels) is not int or num_levels < 2:
        raise ConfigError(f"num_levels is {num_levels!r}; set a whole number of at least 2")
    return num_levels


class VolumeConvs(nn.Layer):
    """Two convolutions. [N, in, D, H, W] -> [N, out, D, H, W]; `middle` channels in between."""

    def __init__(self, in_channels: int, middle: int, out_channels: int, order: str) -> None:
        super().__init__()
        self.SingleConv1 = single_conv(in_channels, middle, order)
        self.SingleConv2 = single_conv(middle, out_channels, order)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the features of `x` at its own resolution."""
        return self.SingleConv2(self.SingleConv1(x))


class ResNetBlock(nn.Layer):
    """Two convolutions and a shortcut, activated after the sum. [N, in, ...] -> [N, out, ...].

    The activation after the sum is ELU where the order has an e, LeakyReLU of 0.1 (not of 0.01, as
    inside) where it has an l, else ReLU. excite: one of `EXCITATIONS`, none without.
    """

    def __init__(self, in_channels: int, out_channels: int, order: str, excite: str | None) -> None:
        super().__init__()
        self.conv1: nn.Layer = nn.Identity()
        if in_channels != out_channels:
            self.conv1 = nn.Conv3D(in_channels, out_channels, 1)
        self.conv2 = single_conv(out_channels, out_channels, order)
        linear = "".join(letter for letter in order if letter not in "rel")
        self.conv3 = single_conv(out_channels, out_channels, linear)
        self.non_linearity: nn.Layer = nn.ReLU()
        if "l" in order:
            self.non_linearity = LeakyReLU(0.1)
        elif "e" in order:
            self.non_linearity = nn.ELU()
        self.se_module = None if excite is None else excitation(excite, out_channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the features of `x` at its own resolution."""
        shortcut = self.conv1(x)
        out = self.non_linearity(self.conv3(self.conv2(shortcut)) + shortcut)
        return out if self.se_module is None else self.se_module(out)


class ChannelExcitation(nn.Layer):
    """Multiplies every channel by a number in (0, 1) that all channels' means decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels)
        self.fc2 = nn.Linear(channels, channels)
        self.relu = nn.ReLU()
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return `x` [N, C, D, H, W], weighted."""
        gate = self.sigmoid(self.fc2(self.relu(self.fc1(x.mean(axis=[2, 3, 4])))))
        return x * gate[:, :, None, None, None]


class SpatialExcitation(nn.Layer):
    """Multiplies every voxel by a number in (0, 1) that its channels decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3D(channels, 1, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return `x` [N, C, D, H, W], weighted."""
        return x * self.sigmoid(self.conv(x))


class BothExcitations(nn.Layer):
    """The larger of what both excitations make of a value."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cSE = ChannelExcitation(channels)
        self.sSE = SpatialExcitation(channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return `x` [N, C, D, H, W], weighted."""
        return maximum(self.cSE(x), self.sSE(x))


def excitation(kind: str, channels: int) -> nn.Layer:
    """Return the excitation called `kind`; ConfigError lists the names."""
    if kind not in EXCITATIONS:
        raise ConfigError(f"excite is {kind!r}; choose one of {', '.join(EXCITATIONS)}, or none")
    classes = {"scse": BothExcitations, "cse": ChannelExcitation, "sse": SpatialExcitation}
    return classes[kind](channels)


class VolumeEncoder(nn.Layer):
    """Halves the resolution where it is not the first, then `block`."""

    def __init__(self, block: nn.Layer, halves: bool) -> None:
        super().__init__()
        self.pooling = nn.MaxPool3D(2) if halves else None
        self.basic_module = block

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the features of `x`; an odd last plane, row or column is lost."""
        return self.basic_module(x if self.pooling is None else self.pooling(x))


class Nearest(nn.Layer):
    """Resizes a volume to nearest voxels."""

    def forward(self, x: paddle.Tensor, size: Sequence[int]) -> paddle.Tensor:
        """Return `x` [N, C, D, H, W] at `size` (D, H, W)."""
        return F.interpolate(x, size=list(size), mode="nearest", data_format="NCDHW")


class Deconv(nn.Layer):
    """Doubles a volume by a transposed convolution (2 n - 1), then nearest voxels to the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_transposed = nn.Conv3DTranspose(
            in_channels, out_channels, 3, stride=2, padding=1, bias_attr=False
        )
        self.nearest = Nearest()

    def forward(self, x: paddle.Tensor, size: Sequence[int]) -> paddle.Tensor:
        """Return `x` [N, in, d, h, w] as [N, out, D, H, W] of `size` (D, H, W)."""
        return self.nearest(self.conv_transposed(x), size)


class Upsampling(nn.Layer):
    """Holds `upsample` under the authors' name."""

    def __init__(self, upsample: nn.Layer) -> None:
        super().__init__()
        self.upsample = upsample

    def forward(self, x: paddle.Tensor, skip: paddle.Tensor) -> paddle.Tensor:
        """Return `x` at the size of `skip`."""
        return self.upsample(x, skip.shape[2:])


class VolumeDecoder(nn.Layer):
    """Upsamples to the skip connection's size, joins it, then `block`.

    adds: the skip is added; otherwise joined as [skip, x].
    """

    def __init__(self, upsample: nn.Layer, block: nn.Layer, adds: bool) -> None:
        super().__init__()
        self.upsampling = Upsampling(upsample)
        self.basic_module = block
        self.adds = adds

    def forward(self, skip: paddle.Tensor, x: paddle.Tensor) -> paddle.Tensor:
        """Return [N, out, D, H, W] of `skip` [N, c, D, H, W] and `x` [N, in, d, h, w]."""
        x = self.upsampling(x, skip)
        return self.basic_module(skip + x if self.adds else paddle.concat([skip, x], axis=1))


class VolumeUNet(nn.Layer):
    """Encoders, decoders and a 1x1x1 convolution.

    Volume [N, in_channels, D, H, W] -> logits [N, num_classes, D, H, W].
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        encoders: Sequence[nn.Layer],
        decoders: Sequence[nn.Layer],
        base: int,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.encoders = nn.LayerList(encoders)
        self.decoders = nn.LayerList(decoders)
        self.final_conv = nn.Conv3D(base, num_classes, 1)
        self.init_weight()

    def init_weight(self) -> None:
        """Initialise as the authors do, who leave it to torch: uniform by fan-in."""
        for layer in self.sublayers():
            if isinstance(layer, nn.Conv3D | nn.Conv3DTranspose | nn.Linear):
                fan_in_uniform_(layer.weight, layer.bias)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits of the volume `x`; UserError where it is none or is too small."""
        check_volume(x.shape, self.in_channels, len(self.encoders))
        skips = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
        for decoder, skip in zip(self.decoders, reversed(skips[:-1]), strict=True):
            x = decoder(skip, x)
        return self.final_conv(x)


def unet3d(
    in_channels: int = 1,
    num_classes: int = 2,
    width: float = 1.0,
    order: str = "gcr",
    upsample: str = "nearest",
    num_levels: int = 4,
) -> VolumeUNet:
    """Build 3D U-Net of widths 64, 128, ... times `width`, one a level.

    Args:
        order: layers of a convolution, see `single_conv`.
        upsample: "nearest", or "deconv": by transposed convolutions.
        num_levels: resolutions; volumes are at least 2 ** (num_levels - 1) wide.

    Raises ConfigError for an option that is none.
    """
    if upsample not in UPSAMPLES:
        raise ConfigError(f"upsample is {upsample!r}; choose {' or '.join(UPSAMPLES)}")
    checked_order(order)
    widths = level_widths(width, num_levels)
    encoders, before = [], in_channels
    for level, channels in enumerate(widths):
        middle = max(channels // 2, before)
        encoders.append(VolumeEncoder(VolumeConvs(before, middle, channels, order), level > 0))
        before = channels
    decoders = []
    for channels in reversed(widths[:-1]):
        nearest = upsample == "nearest"
        up = Nearest() if nearest else Deconv(before, channels)
        joined = channels + (before if nearest else channels)
        decoders.append(
            VolumeDecoder(up, VolumeConvs(joined, channels, channels, order), adds=False)
        )
        before = channels
    return VolumeUNet(in_channels, num_classes, encoders, decoders, widths[0])


def residual_unet3d(
    in_channels: int = 1,
    num_classes: int = 2,
    width: float = 1.0,
    order: str = "gcr",
    excite: str | None = None,
    num_levels: int = 5,
) -> VolumeUNet:
    """Build residual 3D U-Net of widths 64, 128, ... times `width`, one a level.

    Args:
        order: layers of a convolution, see `single_conv`; those after the sum follow from it.
        excite: "scse", "cse" or "sse": squeeze and excitation of channels and voxels, of
            channels, of voxels.
        num_levels: resolutions; volumes are at least 2 ** (num_levels - 1) wide.

    Raises ConfigError for an option that is none.
    """
    checked_order(order)
    widths = level_widths(width, num_levels)
    encoders, before = [], in_channels
    for level, channels in enumerate(widths):
        encoders.append(VolumeEncoder(ResNetBlock(before, channels, order, excite), level > 0))
        before = channels
    decoders = []
    for channels in reversed(widths[:-1]):
        block = ResNetBlock(channels, channels, order, excite)
        decoders.append(VolumeDecoder(Deconv(before, channels), block, adds=True))
        before = channels
    return VolumeUNet(in_channels, num_classes, encoders, decoders, widths[0])


def level_widths(width: float, num_levels: int) -> list[int]:
    """Return the channels of every level, doubled from one to the next."""
    return [first_width(width) * 2**level for level in range(checked_levels(num_levels))]
