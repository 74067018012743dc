"""SOLO (Wang et al., ECCV 2020): one mask for every cell of five grids, without boxes.

Names are those of MMDetection (mmdet/models/dense_heads/solo_head.py).
"""

import math
from collections.abc import Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.shapes import checked_grids, coordinates, first_width
from paddle_impl.layers import (
    GroupNorm,
    freeze_parameters,
    freeze_statistics,
    resize_bilinear,
)
from paddle_impl.models.backbones.resnet import ResNet
from paddle_impl.models.detection.fpn import FPN

GRIDS = (40, 36, 24, 16, 12)
STD = 0.01  # of the heads' convolutions
RARE = -math.log(99)  # bias of what one cell in a hundred is


class ConvGN(nn.Layer):
    """Convolution, GroupNorm, ReLU. [N, in, H, W] -> [N, out, H, W]."""

    def __init__(self, in_ch: int, out_ch: int, size: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(in_ch, out_ch, size, padding=size // 2, bias_attr=False)
        self.gn = GroupNorm(groups, out_ch)
        self.relu = nn.ReLU()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return relu(gn(conv(x)))."""
        return self.relu(self.gn(self.conv(x)))


class SOLOHead(nn.Layer):
    """Masks and classes of the cells of each level.

    Args:
        channels: of the levels, and of the convolutions.
        groups: of the normalisations.
        num_classes: without background.
        num_grids: cells on a side, of each level.
        stacked_convs: convolutions of each branch.
    """

    def __init__(
        self,
        channels: int,
        groups: int,
        num_classes: int,
        num_grids: Sequence[int],
        stacked_convs: int,
    ) -> None:
        super().__init__()
        self.num_grids = tuple(num_grids)
        self.mask_convs = conv_stack(channels + 2, channels, stacked_convs, groups)
        self.cls_convs = conv_stack(channels, channels, stacked_convs, groups)
        self.twice = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.conv_mask_list = nn.LayerList([nn.Conv2D(channels, s * s, 1) for s in self.num_grids])
        self.conv_cls = nn.Conv2D(channels, num_classes, 3, padding=1)
        init_head(self)
        set_rare(self.conv_cls, *self.conv_mask_list)

    def forward(
        self, levels: Sequence[paddle.Tensor]
    ) -> tuple[list[paddle.Tensor], list[paddle.Tensor]]:
        """Return the masks [N, S * S, h, w] and the classes [N, num_classes, S, S] by level.

        In train mode logits, a mask of twice its level's size; in eval mode probabilities, all
        masks of the size of the first and classes only where they are a maximum.
        """
        levels = even_levels(levels)
        masks = [self.masks_of(i, x) for i, x in enumerate(levels)]
        classes = [self.classes_of(i, x) for i, x in enumerate(levels)]
        if self.training:
            return masks, classes
        size = [2 * length for length in levels[0].shape[2:]]
        masks = [resize_bilinear(F.sigmoid(x), size) for x in masks]
        return masks, [points_nms(F.sigmoid(x)) for x in classes]

    def masks_of(self, i: int, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits of the masks of level `i`, [N, S * S, 2 h, 2 w]."""
        x = with_coordinates(x)
        for conv in self.mask_convs:
            x = conv(x)
        return self.conv_mask_list[i](self.twice(x))

    def classes_of(self, i: int, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits of the classes of level `i`, [N, num_classes, S, S]."""
        x = resize_bilinear(x, [self.num_grids[i], self.num_grids[i]])
        for conv in self.cls_convs:
            x = conv(x)
        return self.conv_cls(x)


class SOLO(nn.Layer):
    """ResNet, FPN and a head. Image [N, 3, H, W] float32, RGB, ImageNet-normalised.

    Returns what the head returns.

    Args:
        layers: of the ResNet. head: on its pyramid. width: of both.
        frozen_stages: of the ResNet that are not trained, and the stem with them; -1: all are.
        norm_eval: whether its BatchNorms run on the statistics that they have, in train mode too.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        head: nn.Layer,
        width: float,
        frozen_stages: int = 1,
        norm_eval: bool = True,
    ) -> None:
        super().__init__()
        base = first_width(width, least=2)
        self.backbone = ResNet(layers, width=width)
        self.neck = FPN([base * 4, base * 8, base * 16, base * 32], base * 4)
        self.mask_head = head
        self.norm_eval = norm_eval
        stem = ("conv1", "bn1") if frozen_stages >= 0 else ()
        for name in (*stem, *(f"layer{i + 1}" for i in range(frozen_stages))):
            freeze_parameters(getattr(self.backbone, name))
        self.train()

    def train(self) -> "SOLO":
        """Put everything but, with `norm_eval`, the backbone's BatchNorms into train mode."""
        super().train()
        if self.norm_eval:
            freeze_statistics(self.backbone)
        return self

    def forward(self, x: paddle.Tensor) -> Any:
        """Return the head's outputs for the image `x` [N, 3, H, W]."""
        return self.mask_head(self.neck(self.backbone(x)))


def conv_stack(in_ch: int, channels: int, count: int, groups: int) -> nn.LayerList:
    """Return `count` 3x3 convolutions, the first of `in_ch` channels."""
    sides = [in_ch, *[channels] * (count - 1)]
    return nn.LayerList([ConvGN(one, channels, 3, groups) for one in sides])


def even_levels(levels: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
    """Return the levels at strides 8, 8, 16, 32, 32: the first and the last are resized."""
    first = resize_bilinear(levels[0], list(levels[1].shape[2:]))
    last = resize_bilinear(levels[-1], list(levels[-2].shape[2:]))
    return [first, *levels[1:-1], last]


def with_coordinates(x: paddle.Tensor) -> paddle.Tensor:
    """Return `x` [N, C, H, W] with the places of its pixels behind it, x first: C + 2 channels."""
    places = paddle.to_tensor(coordinates(x.shape[2], x.shape[3])).astype(x.dtype)
    return paddle.concat([x, places.expand([x.shape[0], -1, -1, -1])], axis=1)


def points_nms(x: paddle.Tensor) -> paddle.Tensor:
    """Return `x` [N, C, S, S] where it is the largest of itself and its upper left, else 0."""
    largest = F.max_pool2d(x, 2, stride=1, padding=1)[:, :, :-1, :-1]
    return x * (largest == x).astype(x.dtype)


def init_head(head: nn.Layer) -> None:
    """Initialise the convolutions as the authors do: N(0, 0.01), biases 0."""
    for layer in head.sublayers():
        if isinstance(layer, nn.Conv2D):
            nn.initializer.Normal(0.0, STD)(layer.weight)
            if layer.bias is not None:
                nn.initializer.Constant(0.0)(layer.bias)


def set_rare(*convs: Any) -> None:
    """Let the sigmoids behind `convs` begin at one in a hundred."""
    for conv in convs:
        nn.initializer.Constant(RARE)(conv.bias)


def group_count(base: int) -> int:
    """Return the groups of a net whose first stage has `base` channels: 32 at full width."""
    return math.gcd(32, base // 2, base * 2)


def solo(
    layers: tuple[int, ...],
    num_classes: int = 80,
    num_grids: Sequence[int] = GRIDS,
    stacked_convs: int = 7,
    width: float = 1.0,
    frozen_stages: int = 1,
    norm_eval: bool = True,
) -> SOLO:
    """Build SOLO on ResNet-50 (by `layers`).

    num_grids: cells on a side, of each of the five levels. width: scales all channels. The others:
    see `SOLO`, and `SOLOHead`. Raises ConfigError for what is not possible.
    """
    base, grids = first_width(width, least=2), checked_grids(num_grids)
    head = SOLOHead(base * 4, group_count(base), num_classes, grids, stacked_convs)
    return SOLO(layers, head, width, frozen_stages, norm_eval)
