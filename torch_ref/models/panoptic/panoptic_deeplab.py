"""Panoptic-DeepLab (Cheng et al., CVPR 2020): two pyramids, two decoders, three heads.

Names are those of bowenc0221/panoptic-deeplab (segmentation/model/), whose backbone is
torchvision's ResNet.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import ConfigError, UserError
from common.shapes import checked_window, first_width
from torch_ref.layers import fan_in_uniform_, keep_statistics, resize_bilinear
from torch_ref.models.aspp import TorchvisionASPP, conv_bn_relu, image_average
from torch_ref.models.backbones.resnet import ResNet

# segmentation/config/default.py and configs/*.yaml there: output_stride -> rates of the pyramids.
RATES = {16: (6, 12, 18), 32: (3, 6, 9)}
KEPT = 0.99  # share of its statistics that a BatchNorm keeps: MODEL.BN_MOMENTUM 0.01
STD = 0.001  # of the decoders' convolutions, segmentation/model/meta_arch/base.py:28


class WindowPool(nn.Module):
    """Average, 1x1 convolution, ReLU, back to the map's size. [N, in, h, w] -> [N, out, h, w].

    The average is one of the whole map, or with `window` (height, width) one of every window: the
    authors test with that of their training crop (tools/test_net_single_core.py:78-84).
    """

    def __init__(self, in_ch: int, out_ch: int, window: Sequence[int] | None) -> None:
        super().__init__()
        self.window = checked_window(window)
        self.aspp_pooling = nn.Sequential(
            image_average(self.window), nn.Conv2d(in_ch, out_ch, 1, bias=False), nn.ReLU()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the averages at every pixel of `x`; UserError where `x` is below the window."""
        size = list(x.shape[2:])
        if self.window and (size[0] < self.window[0] or size[1] < self.window[1]):
            raise UserError(
                f"pool_window is {list(self.window)} cells and the backbone's last map {size}: "
                "give a larger image, or no pool_window for the average of the whole map"
            )
        return resize_bilinear(self.aspp_pooling(x), size, align_corners=True)


class SingleDecoder(nn.Module):
    """A pyramid on the last feature, then the others from coarse to fine. -> [N, out, h, w].

    Args:
        in_ch: channels of the last feature.
        aspp_ch, out_ch: channels after the pyramid and after each fusion.
        low: (channels, channels after projection) of the other features, from coarse to fine.
        rates: dilations of the pyramid.
        window: see `WindowPool`.
    """

    def __init__(
        self,
        in_ch: int,
        aspp_ch: int,
        out_ch: int,
        low: Sequence[tuple[int, int]],
        rates: tuple[int, ...],
        window: Sequence[int] | None,
    ) -> None:
        super().__init__()
        pool = WindowPool(in_ch, aspp_ch, window)
        self.aspp = TorchvisionASPP(in_ch, aspp_ch, rates, pool)
        self.project = nn.ModuleList([nn.Sequential(*conv_bn_relu(*sides)) for sides in low])
        running = [aspp_ch, *[out_ch] * (len(low) - 1)]
        self.fuse = nn.ModuleList(
            [separable_conv(ch + sides[1], out_ch) for ch, sides in zip(running, low, strict=True)]
        )

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return a map of the size of the first of `features`, which go from fine to coarse."""
        x = self.aspp(features[-1])
        for low, project, fuse in zip(features[-2::-1], self.project, self.fuse, strict=True):
            low = project(low)
            x = resize_bilinear(x, low.shape[2:], align_corners=True)
            x = fuse(torch.cat([x, low], dim=1))
        return x


class SingleHead(nn.Module):
    """A separable 5x5 and a 1x1 convolution for each of `outputs`, name -> channels."""

    def __init__(self, in_ch: int, mid_ch: int, outputs: Mapping[str, int]) -> None:
        super().__init__()
        classifier = {
            name: nn.Sequential(separable_conv(in_ch, mid_ch), nn.Conv2d(mid_ch, channels, 1))
            for name, channels in outputs.items()
        }
        self.classifier = nn.ModuleDict(classifier)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the outputs in their order, of the size of `x`."""
        return [classifier(x) for classifier in self.classifier.values()]


class PanopticDecoder(nn.Module):
    """The semantic and the instance branch. Returns [semantic, center, offset] at /4.

    low: channels of the features before the last, from coarse to fine; the semantic branch
    projects them to `base` * 2, base, base / 2, the instance branch to half of that.
    in_ch: channels of the last feature.
    """

    def __init__(
        self,
        in_ch: int,
        base: int,
        low: Sequence[tuple[int, int]],
        num_classes: int,
        rates: tuple[int, ...],
        window: Sequence[int] | None,
    ) -> None:
        super().__init__()
        half = [(channels, projected // 2) for channels, projected in low]
        self.semantic_decoder = SingleDecoder(in_ch, base * 4, base * 4, low, rates, window)
        self.semantic_head = SingleHead(base * 4, base * 4, {"semantic": num_classes})
        self.instance_decoder = SingleDecoder(in_ch, base * 4, base * 2, half, rates, window)
        self.instance_head = SingleHead(base * 2, base // 2, {"center": 1, "offset": 2})

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the three maps of the backbone's `features`, which go from fine to coarse."""
        semantic = self.semantic_head(self.semantic_decoder(features))
        return [*semantic, *self.instance_head(self.instance_decoder(features))]


class PanopticDeepLab(nn.Module):
    """Panoptic-DeepLab. Image [N, 3, H, W] float32, RGB, ImageNet-normalised, any H and W.

    Returns [semantic logits [N, num_classes, H, W], center heat map [N, 1, H, W], offset to the
    center [N, 2, H, W] in pixels, y first] in both modes, none of them through a sigmoid.

    Args:
        layers: blocks of each stage of the ResNet.
        output_stride: 32, or 16 with a dilated last stage.
        pool_window: (height, width) of the image pooling in cells of the last map; None: all of it.
        width: scales all channels.

    Raises ConfigError for another stride, a window that is not two positive numbers, and a width
    that leaves nothing.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        num_classes: int,
        output_stride: int,
        pool_window: Sequence[int] | None,
        width: float,
    ) -> None:
        super().__init__()
        if output_stride not in RATES:
            raise ConfigError(f"output_stride={output_stride} is not possible; choose 16 or 32")
        base = first_width(width, least=4)
        self.backbone = ResNet(layers, "plain", output_stride, "previous", width)
        low = [(base * 16, base * 2), (base * 8, base), (base * 4, base // 2)]
        rates = RATES[output_stride]
        self.decoder = PanopticDecoder(base * 32, base, low, num_classes, rates, pool_window)
        init_decoder(self.decoder)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return [semantic, center, offset] of the image `x` [N, 3, H, W], at its size."""
        semantic, center, offset = self.decoder(self.backbone(x))
        return [upsample(semantic, x), upsample(center, x), upsample_offset(offset, x)]


def separable_conv(in_ch: int, out_ch: int) -> nn.Sequential:
    """Return a depthwise 5x5 and a 1x1 convolution: a stack of one, as the authors hold it."""
    depthwise = nn.Sequential(*conv_bn_relu(in_ch, in_ch, 5, groups=in_ch))
    return nn.Sequential(nn.Sequential(depthwise, *conv_bn_relu(in_ch, out_ch)))


def init_decoder(decoder: nn.Module) -> None:
    """Initialise as the authors do: N(0, 0.001), and torch's default for the biases."""
    for layer in decoder.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in_uniform_(layer.weight, layer.bias)
            nn.init.normal_(layer.weight, std=STD)


def upsample(x: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Return `x` [N, C, h, w] at the height and width of `image`."""
    return F.interpolate(x, size=image.shape[2:], mode="bilinear", align_corners=True)


def upsample_offset(offset: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Return `offset` [N, 2, h, w], in cells, at the size of `image` and in its pixels.

    One whole factor serves for both axes, that of the heights, as the authors have it
    (meta_arch/panoptic_deeplab.py:91-92). Raises UserError for an image of less than 5 rows.
    """
    if offset.shape[2] < 2:
        raise UserError(f"an image of {image.shape[2]} rows: Panoptic-DeepLab takes 5 at least")
    return upsample(offset, image) * ((image.shape[2] - 1) // (offset.shape[2] - 1))


def panoptic_deeplab(
    layers: tuple[int, ...],
    num_classes: int = 19,
    output_stride: int = 32,
    pool_window: Sequence[int] | None = None,
    bn_kept: float = KEPT,
    width: float = 1.0,
) -> PanopticDeepLab:
    """Build Panoptic-DeepLab on ResNet-50 or ResNet-101 (by `layers`)."""
    net = PanopticDeepLab(layers, num_classes, output_stride, pool_window, width)
    keep_statistics(net, bn_kept)
    return net
