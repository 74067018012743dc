"""Panoptic-DeepLab as detectron2 has it (projects/Panoptic-DeepLab and DeepLab), in its names.

What it has otherwise than its author's first code (`panoptic_deeplab`): the deep-stem ResNet with
multi-grid ("R-52") at stride 16, no /16 feature, no aligned corners, and concatenation of
[projected, running].
"""

import math
from collections.abc import Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.errors import UserError
from common.shapes import checked_window, first_width
from paddle_impl.layers import BatchNorm2D, kaiming_normal_, resize_bilinear
from paddle_impl.models.aspp import image_average

# Base-PanopticDeepLab-OS16.yaml and panoptic_deeplab_R_52_os16_mg124*.yaml there.
DILATION, MULTI_GRID = 2, (1, 2, 4)  # of the last stage
RATES = (6, 12, 18)
DROPOUT = 0.1
STRIDE = 4  # of what the decoders return
STD = 0.001  # of the predictors


class NormConv(nn.Conv2D):
    """A convolution, with the BatchNorm (in place of a bias) and the ReLU that follow it.

    Its norm is a part of it, as in detectron2 (layers/wrappers.py). Initialised as Caffe2's "MSRA"
    does, or its "Xavier"; the bias with 0.
    """

    def __init__(
        self,
        in_ch: int,
        out_ch: int,
        kernel_size: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: bool = True,
        relu: bool = True,
        msra: bool = False,
    ) -> None:
        padding = dilation * (kernel_size // 2)
        sizes: dict[str, Any] = {"stride": stride, "padding": padding, "groups": groups}
        super().__init__(in_ch, out_ch, kernel_size, dilation=dilation, bias_attr=not norm, **sizes)
        self.norm = BatchNorm2D(out_ch) if norm else None
        self.relu = nn.ReLU() if relu else None
        if msra:
            kaiming_normal_(self.weight, mode="fan_out")
        else:
            bound = math.sqrt(3 / math.prod(self.weight.shape[1:]))
            nn.initializer.Uniform(-bound, bound)(self.weight)
        if self.bias is not None:
            nn.initializer.Constant(0.0)(self.bias)

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Return relu(norm(convolution(input))), without what the layer has not."""
        x = super().forward(input)
        x = x if self.norm is None else self.norm(x)
        return x if self.relu is None else self.relu(x)


class SeparableNormConv(nn.Layer):
    """A depthwise and a 1x1 `NormConv` (detectron2, layers/blocks.py)."""

    def __init__(self, in_ch: int, out_ch: int, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.depthwise = NormConv(
            in_ch, in_ch, kernel_size, dilation=dilation, groups=in_ch, msra=True
        )
        self.pointwise = NormConv(in_ch, out_ch, msra=True)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return a map of the size of `x`."""
        return self.pointwise(self.depthwise(x))


class NormBottleneck(nn.Layer):
    """1x1, 3x3, 1x1 convolutions and a shortcut. [N, in, H, W] -> [N, out, H / s, W / s]."""

    def __init__(self, in_ch: int, out_ch: int, stride: int, dilation: int) -> None:
        super().__init__()
        mid_ch = out_ch // 4
        self.shortcut = None
        if in_ch != out_ch:
            self.shortcut = NormConv(in_ch, out_ch, stride=stride, relu=False, msra=True)
        self.conv1 = NormConv(in_ch, mid_ch, msra=True)
        self.conv2 = NormConv(mid_ch, mid_ch, 3, stride, dilation, msra=True)
        self.conv3 = NormConv(mid_ch, out_ch, relu=False, msra=True)
        self.relu = nn.ReLU()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return relu(residual(x) + shortcut(x))."""
        out = self.conv3(self.conv2(self.conv1(x)))
        return self.relu(out + (x if self.shortcut is None else self.shortcut(x)))


class DeepLabStem(nn.Layer):
    """Three 3x3 convolutions and a maximum. [N, 3, H, W] -> [N, out, H / 4, W / 4]."""

    def __init__(self, out_ch: int) -> None:
        super().__init__()
        self.conv1 = NormConv(3, out_ch // 2, 3, 2, msra=True)
        self.conv2 = NormConv(out_ch // 2, out_ch // 2, 3, msra=True)
        self.conv3 = NormConv(out_ch // 2, out_ch, 3, msra=True)
        self.maxpool = nn.MaxPool2D(3, stride=2, padding=1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the features of the image `x`."""
        return self.maxpool(self.conv3(self.conv2(self.conv1(x))))


class DeepLabResNet(nn.Layer):
    """R-52, its last stage dilated, with multi-grid. Returns the features /4, /8 and /16.

    layers: blocks of the three stages before, (3, 4, 6).
    """

    def __init__(self, layers: tuple[int, ...], base: int) -> None:
        super().__init__()
        self.stem = DeepLabStem(base * 2)
        self.res2 = norm_stage(base * 2, base * 4, 1, [1] * layers[0])
        self.res3 = norm_stage(base * 4, base * 8, 2, [1] * layers[1])
        self.res4 = norm_stage(base * 8, base * 16, 2, [1] * layers[2])
        dilations = [DILATION * grid for grid in MULTI_GRID]
        self.res5 = norm_stage(base * 16, base * 32, 1, dilations)

    def forward(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        """Return [res2, res3, res5] of the image `x` [N, 3, H, W]."""
        res2 = self.res2(self.stem(x))
        res3 = self.res3(res2)
        return [res2, res3, self.res5(self.res4(res3))]


class NormASPP(nn.Layer):
    """detectron2's pyramid (layers/aspp.py). [N, in, h, w] -> [N, out, h, w].

    Args:
        dsconv: the dilated 3x3 convolutions are separable.
        window: (height, width) of the image pooling, which moves over the map by one cell; h and w
            are multiples of it. None: the whole map.
    """

    def __init__(self, in_ch: int, out_ch: int, dsconv: bool, window: Sequence[int] | None) -> None:
        super().__init__()
        self.window = checked_window(window)
        self.convs = nn.LayerList([NormConv(in_ch, out_ch)])
        for rate in RATES:
            if dsconv:
                self.convs.append(SeparableNormConv(in_ch, out_ch, 3, rate))
            else:
                self.convs.append(NormConv(in_ch, out_ch, 3, dilation=rate))
        pooled = NormConv(in_ch, out_ch, norm=False)
        self.convs.append(nn.Sequential(image_average(self.window), pooled))
        self.project = NormConv(out_ch * len(self.convs), out_ch)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the projected concatenation; UserError where `window` does not divide `x`."""
        size = list(x.shape[2:])
        if self.window and (size[0] % self.window[0] or size[1] % self.window[1]):
            raise UserError(
                f"pool_window is {list(self.window)} cells and the backbone's last map {size}, "
                "which is to be a multiple of it: give an image of another size, or no pool_window "
                "for the average of the whole map"
            )
        found = [conv(x) for conv in self.convs]
        found[-1] = resize_bilinear(found[-1], size)
        return self.dropout(self.project(paddle.concat(found, axis=1)))


class PyramidStage(nn.Layer):
    """The last feature's stage of a decoder: the pyramid."""

    def __init__(self, in_ch: int, out_ch: int, dsconv: bool, window: Sequence[int] | None) -> None:
        super().__init__()
        self.project_conv = NormASPP(in_ch, out_ch, dsconv, window)

    def forward(self, feature: paddle.Tensor) -> paddle.Tensor:
        """Return the context of `feature`, of its size."""
        return self.project_conv(feature)


class FusionStage(nn.Layer):
    """The stage of a finer feature: it is projected, and joined to the running map."""

    def __init__(
        self, in_ch: int, projected_ch: int, running_ch: int, out_ch: int, dsconv: bool
    ) -> None:
        super().__init__()
        self.project_conv = NormConv(in_ch, projected_ch)
        self.fuse_conv = fusion(projected_ch + running_ch, out_ch, out_ch, dsconv)

    def forward(self, feature: paddle.Tensor, running: paddle.Tensor) -> paddle.Tensor:
        """Return the next running map, of the size of `feature`."""
        projected = self.project_conv(feature)
        running = resize_bilinear(running, projected.shape[2:])
        return self.fuse_conv(paddle.concat([projected, running], axis=1))


class PyramidDecoder(nn.Layer):
    """The pyramid, then /8 and /4 joined to it: `decoder` of both of detectron2's heads.

    base: a 32nd of the channels of the last feature. out_ch: channels after each fusion.
    """

    def __init__(self, base: int, out_ch: int, dsconv: bool, window: Sequence[int] | None) -> None:
        super().__init__()
        stages: dict[str, nn.Layer] = {
            "res2": FusionStage(base * 4, base // 2, out_ch, out_ch, dsconv),
            "res3": FusionStage(base * 8, base, base * 4, out_ch, dsconv),
            "res5": PyramidStage(base * 32, base * 4, dsconv, window),
        }
        self.decoder = nn.LayerDict(stages)

    def decoded(self, features: Sequence[paddle.Tensor]) -> paddle.Tensor:
        """Return the map [N, out, h, w] at /4 of [res2, res3, res5]."""
        running = self.decoder["res5"](features[2])
        running = self.decoder["res3"](features[1], running)
        return self.decoder["res2"](features[0], running)


class SemanticHead(PyramidDecoder):
    """The semantic branch: logits at /4 of [res2, res3, res5]."""

    def __init__(
        self, base: int, num_classes: int, dsconv: bool, window: Sequence[int] | None
    ) -> None:
        super().__init__(base, base * 4, dsconv, window)
        self.head = fusion(base * 4, base * 4, base * 4, dsconv)
        self.predictor = predictor(base * 4, num_classes)

    def forward(self, features: Sequence[paddle.Tensor]) -> paddle.Tensor:
        """Return the logits [N, num_classes, h, w]."""
        return self.predictor(self.head(self.decoded(features)))


class InstanceHead(PyramidDecoder):
    """The instance branch: [center, offset] at /4 of [res2, res3, res5].

    The head of the centers is two plain 3x3 convolutions with separable ones elsewhere, too.
    """

    def __init__(self, base: int, dsconv: bool, window: Sequence[int] | None) -> None:
        super().__init__(base, base * 2, dsconv, window)
        self.center_head = fusion(base * 2, base * 2, base // 2, False)
        self.center_predictor = predictor(base // 2, 1)
        self.offset_head = fusion(base * 2, base * 2, base // 2, dsconv)
        self.offset_predictor = predictor(base // 2, 2)

    def forward(self, features: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """Return [[N, 1, h, w], [N, 2, h, w]]."""
        x = self.decoded(features)
        center = self.center_predictor(self.center_head(x))
        return [center, self.offset_predictor(self.offset_head(x))]


class PanopticDeepLabD2(nn.Layer):
    """detectron2's Panoptic-DeepLab. Image [N, 3, H, W] float32, RGB, ImageNet-normalised.

    Returns [semantic logits [N, num_classes, H, W], center heat map [N, 1, H, W], offset to the
    center [N, 2, H, W] in pixels, y first] in both modes, none of them through a sigmoid.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        num_classes: int,
        dsconv: bool,
        pool_window: Sequence[int] | None,
        width: float,
    ) -> None:
        super().__init__()
        base = first_width(width, least=2)
        self.backbone = DeepLabResNet(layers, base)
        self.sem_seg_head = SemanticHead(base, num_classes, dsconv, pool_window)
        self.ins_embed_head = InstanceHead(base, dsconv, pool_window)

    def forward(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        """Return [semantic, center, offset] of the image `x` [N, 3, H, W], at its size."""
        features = self.backbone(x)
        semantic = self.sem_seg_head(features)
        center, offset = self.ins_embed_head(features)
        return [enlarged(semantic, x), enlarged(center, x), enlarged(offset, x) * STRIDE]


def norm_stage(in_ch: int, out_ch: int, stride: int, dilations: Sequence[int]) -> nn.Sequential:
    """Return a stage of as many blocks as `dilations`, the first of them strided."""
    first = NormBottleneck(in_ch, out_ch, stride, dilations[0])
    return nn.Sequential(first, *[NormBottleneck(out_ch, out_ch, 1, d) for d in dilations[1:]])


def fusion(in_ch: int, mid_ch: int, out_ch: int, dsconv: bool) -> nn.Layer:
    """Return a separable 5x5 convolution, or two plain 3x3 ones, which see as far."""
    if dsconv:
        return SeparableNormConv(in_ch, out_ch, 5)
    return nn.Sequential(NormConv(in_ch, mid_ch, 3), NormConv(mid_ch, out_ch, 3))


def predictor(in_ch: int, out_ch: int) -> NormConv:
    """Return the 1x1 convolution at the end of a head, N(0, 0.001)."""
    layer = NormConv(in_ch, out_ch, norm=False, relu=False)
    nn.initializer.Normal(0.0, STD)(layer.weight)
    return layer


def enlarged(x: paddle.Tensor, image: paddle.Tensor) -> paddle.Tensor:
    """Return `x` [N, C, h, w] enlarged by 4 and cut to the height and width of `image`."""
    size = [length * STRIDE for length in x.shape[2:]]
    x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    return x[:, :, : image.shape[2], : image.shape[3]]


def panoptic_deeplab_d2(
    layers: tuple[int, ...],
    num_classes: int = 19,
    dsconv: bool = True,
    pool_window: Sequence[int] | None = None,
    width: float = 1.0,
) -> PanopticDeepLabD2:
    """Build detectron2's Panoptic-DeepLab on R-52.

    dsconv: with separable convolutions (configs `*_dsconv.yaml` there), as in the paper.
    pool_window: (height, width) of the image pooling in cells of the stride-16 map: the published
    nets have (32, 64), a 16th of their training crop, also where they are tested on whole images.
    None: all of the map, which in training is the same. width: scales all channels.
    """
    return PanopticDeepLabD2(layers, num_classes, dsconv, pool_window, width)
