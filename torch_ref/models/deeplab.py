"""DeepLabV2 (Chen et al., TPAMI 2018), V3 (arXiv 1706.05587) and V3+ (ECCV 2018).

Names are those of kazuto1011/deeplab-pytorch (libs/models/deeplabv2.py, deeplabv3.py,
deeplabv3plus.py, msc.py), the MSRA ResNet included.
"""

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import ConfigError
from common.shapes import first_width
from torch_ref.layers import (
    BatchNorm2d,
    fan_in_uniform_,
    keep_statistics,
    named_sequential,
    resize_bilinear,
    scale_bilinear,
)
from torch_ref.models.aspp import ASPP, SummedASPP
from torch_ref.models.backbones.resnet_msra import KEPT, ConvBnReLU, make_stage, stem

# Chen et al., arXiv 1706.05587, as are the rates of the pyramid, doubled at stride 8.
MULTI_GRID = (1, 2, 4)
# output_stride -> strides of the stages, dilations of the stages, rates of the pyramid.
STRIDES = {8: (1, 2, 1, 1), 16: (1, 2, 2, 1)}
DILATIONS = {8: (1, 1, 2, 4), 16: (1, 1, 1, 2)}
RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
# Chen et al., TPAMI 2018: ASPP-L, and the sizes beside the full one.
V2_RATES = (6, 12, 18, 24)
SCALES = (0.5, 0.75)


class MSRANet(nn.Module):
    """Stem and stages that all DeepLabs share; `features` returns the outputs of stages 2 and 5.

    layers: blocks of each stage. grid: multiplies the dilation of the last stage, block by block.

    Raises ConfigError for an `output_stride` other than 8 and 16.
    """

    def __init__(
        self, layers: tuple[int, ...], output_stride: int, grid: tuple[int, ...], width: float
    ) -> None:
        super().__init__()
        if output_stride not in STRIDES:
            raise ConfigError(f"output_stride={output_stride} is not possible; choose 8 or 16")
        strides, dilations = STRIDES[output_stride], DILATIONS[output_stride]
        ch = first_width(width)
        self.ch = ch
        self.layer1 = stem(ch)
        self.layer2 = make_stage(ch, ch * 4, layers[0], strides[0], dilations[0])
        self.layer3 = make_stage(ch * 4, ch * 8, layers[1], strides[1], dilations[1])
        self.layer4 = make_stage(ch * 8, ch * 16, layers[2], strides[2], dilations[2])
        self.layer5 = make_stage(ch * 16, ch * 32, layers[3], strides[3], dilations[3], grid)

    def features(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ([N, 256, about H/4, W/4], [N, 2048, H/s, W/s]) of the image `x`."""
        low = self.layer2(self.layer1(x))
        return low, self.layer5(self.layer4(self.layer3(low)))

    def init_weight(self) -> None:
        """Initialise the convolutions as the authors do: torch's default."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                fan_in_uniform_(layer.weight, layer.bias)


class DeepLabV2(MSRANet):
    """DeepLabV2. Image [N, 3, H, W] float32, BGR, minus mean -> logits [N, num_classes, H/8, W/8].

    With `freeze_bn` every BatchNorm works as in eval mode always, as in the authors' training.
    """

    def __init__(
        self, layers: tuple[int, ...], num_classes: int, freeze_bn: bool, width: float
    ) -> None:
        super().__init__(layers, 8, (), width)
        self.init_weight()
        self.freeze_bn = freeze_bn
        self.aspp = SummedASPP(self.ch * 32, num_classes, V2_RATES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the image `x` [N, 3, H, W], not resized."""
        if self.freeze_bn:
            for layer in self.modules():
                if isinstance(layer, BatchNorm2d):
                    layer.training = False
        return self.aspp(self.features(x)[1])


class DeepLabV3(MSRANet):
    """DeepLabV3 with multi-grid. Image [N, 3, H, W] -> logits [N, num_classes, H/s, W/s].

    The logits are not resized, as in the authors' code; s = `output_stride`, rounded up.
    """

    def __init__(
        self, layers: tuple[int, ...], num_classes: int, output_stride: int, width: float
    ) -> None:
        super().__init__(layers, output_stride, MULTI_GRID, width)
        rates = RATES[output_stride]
        self.aspp = ASPP(self.ch * 32, self.ch * 4, rates)
        self.fc1 = ConvBnReLU(self.ch * 4 * (len(rates) + 2), self.ch * 4)
        self.fc2 = nn.Conv2d(self.ch * 4, num_classes, 1)
        self.init_weight()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the image `x` [N, 3, H, W], not resized."""
        return self.fc2(self.fc1(self.aspp(self.features(x)[1])))


class DeepLabV3Plus(MSRANet):
    """DeepLabV3 with a decoder. Image [N, 3, H, W] -> logits [N, num_classes, H, W]."""

    def __init__(
        self, layers: tuple[int, ...], num_classes: int, output_stride: int, width: float
    ) -> None:
        super().__init__(layers, output_stride, MULTI_GRID, width)
        rates, mid_ch, low_ch = RATES[output_stride], self.ch * 4, self.ch * 3 // 4
        self.aspp = ASPP(self.ch * 32, mid_ch, rates)
        self.fc1 = ConvBnReLU(mid_ch * (len(rates) + 2), mid_ch)
        self.reduce = ConvBnReLU(mid_ch, low_ch)
        self.fc2 = named_sequential(
            {
                "conv1": ConvBnReLU(mid_ch + low_ch, mid_ch, 3, padding=1),
                "conv2": ConvBnReLU(mid_ch, mid_ch, 3, padding=1),
                "conv3": nn.Conv2d(mid_ch, num_classes, 1),
            }
        )
        self.init_weight()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits at the size of the image `x` [N, 3, H, W]; the context comes first."""
        low, high = self.features(x)
        low = self.reduce(low)
        high = resize_bilinear(self.fc1(self.aspp(high)), low.shape[2:])
        logits = self.fc2(torch.cat([high, low], dim=1))
        return F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)


class MSC(nn.Module):
    """Runs `base` on the image and on its copies scaled by `scales`.

    Returns the elementwise maximum of all logits, resized to those of the image, in eval mode; in
    train mode [logits of the image, logits of each copy at their own size, maximum].
    """

    def __init__(self, base: nn.Module, scales: tuple[float, ...] = SCALES) -> None:
        super().__init__()
        self.base = base
        self.scales = scales

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return the maximum, in train mode the list, for the image `x` [N, 3, H, W]."""
        logits = self.base(x)
        pyramid = [self.base(scale_bilinear(x, scale)) for scale in self.scales]
        resized = [resize_bilinear(scaled, logits.shape[2:]) for scaled in pyramid]
        stacked = torch.stack([logits, *resized])
        highest = stacked.max(dim=0)[0]
        return [logits, *pyramid, highest] if self.training else highest


def deeplabv2_msc(
    layers: tuple[int, ...],
    num_classes: int = 21,
    freeze_bn: bool = False,
    bn_kept: float = KEPT,
    width: float = 1.0,
) -> MSC:
    """Build DeepLabV2 in the multi-scale wrapper; the authors train it with `freeze_bn`."""
    net = MSC(DeepLabV2(layers, num_classes, freeze_bn, width))
    keep_statistics(net, bn_kept)
    return net


def deeplabv3(
    layers: tuple[int, ...],
    num_classes: int = 21,
    output_stride: int = 16,
    bn_kept: float = KEPT,
    width: float = 1.0,
) -> DeepLabV3:
    """Build DeepLabV3 on ResNet-50 or ResNet-101 (by `layers`).

    bn_kept: the authors' BatchNorms follow so slowly (0.999) that a short training from scratch
    ends with statistics of its beginning; 0.9 is usual for those.
    """
    net = DeepLabV3(layers, num_classes, output_stride, width)
    keep_statistics(net, bn_kept)
    return net


def deeplabv3_msc(
    layers: tuple[int, ...],
    num_classes: int = 21,
    output_stride: int = 16,
    bn_kept: float = KEPT,
    width: float = 1.0,
) -> MSC:
    """Build `deeplabv3` in the multi-scale wrapper (the authors' DeepLabV3_ResNet101_MSC)."""
    return MSC(deeplabv3(layers, num_classes, output_stride, bn_kept, width))


def deeplabv3plus(
    layers: tuple[int, ...],
    num_classes: int = 21,
    output_stride: int = 16,
    bn_kept: float = KEPT,
    width: float = 1.0,
) -> DeepLabV3Plus:
    """Build DeepLabV3+ on ResNet-50 or ResNet-101 (by `layers`); `bn_kept` as in `deeplabv3`."""
    net = DeepLabV3Plus(layers, num_classes, output_stride, width)
    keep_statistics(net, bn_kept)
    return net
