"""SOLOv2 (Wang et al., NeurIPS 2020): every cell predicts the kernel that makes its mask.

Names are those of MMDetection (mmdet/models/dense_heads/solov2_head.py).
"""

from collections.abc import Sequence

import paddle
from paddle import nn

from common.shapes import checked_grids, first_width
from paddle_impl.layers import named_sequential, resize_bilinear
from paddle_impl.models.detection.solo import (
    GRIDS,
    SOLO,
    ConvGN,
    conv_stack,
    even_levels,
    group_count,
    init_head,
    set_rare,
    with_coordinates,
)

FEATURE_LEVELS = 4  # of the pyramid, that make the map of features


class MaskFeatures(nn.Layer):
    """Sum of four levels at a quarter of the image, which the kernels are laid on.

    Height and width of the image are multiples of 32. Returns [N, out, H/4, W/4].
    """

    def __init__(self, in_ch: int, mid_ch: int, out_ch: int, groups: int) -> None:
        super().__init__()
        self.convs_all_levels = nn.LayerList(
            [feature_level(i, in_ch, mid_ch, groups) for i in range(FEATURE_LEVELS)]
        )
        self.conv_pred = ConvGN(mid_ch, out_ch, 1, groups)

    def forward(self, levels: Sequence[paddle.Tensor]) -> paddle.Tensor:
        """Return the map of features of the pyramid's first four `levels`, fine to coarse."""
        used = [*levels[: FEATURE_LEVELS - 1], with_coordinates(levels[FEATURE_LEVELS - 1])]
        first, *others = [f(x) for f, x in zip(self.convs_all_levels, used, strict=True)]
        for other in others:
            first = first + other
        return self.conv_pred(first)


class SOLOv2Head(nn.Layer):
    """Kernels and classes of the cells of each level, and the map that kernels are laid on.

    channels: of the levels; the others follow from them.
    See `paddle_impl.models.detection.solo.SOLOHead`.
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
        self.cls_convs = conv_stack(channels, channels * 2, stacked_convs, groups)
        self.kernel_convs = conv_stack(channels + 2, channels * 2, stacked_convs, groups)
        self.conv_cls = nn.Conv2D(channels * 2, num_classes, 3, padding=1)
        self.conv_kernel = nn.Conv2D(channels * 2, channels, 3, padding=1)
        self.mask_feature_head = MaskFeatures(channels, channels // 2, channels, groups)
        init_head(self)
        set_rare(self.conv_cls)

    def forward(
        self, levels: Sequence[paddle.Tensor]
    ) -> tuple[list[paddle.Tensor], list[paddle.Tensor], paddle.Tensor]:
        """Return kernels [N, E, S, S], classes [N, num_classes, S, S] by level, and the map.

        The map is [N, E, H/4, W/4]; everything is raw in both modes.
        """
        features = self.mask_feature_head(levels)
        kernels, classes = [], []
        for s, x in zip(self.num_grids, even_levels(levels), strict=True):
            cells = resize_bilinear(with_coordinates(x), [s, s])
            kernels.append(self.kernels_of(cells))
            classes.append(self.classes_of(cells[:, :-2]))
        return kernels, classes, features

    def kernels_of(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the kernels [N, E, S, S] of the cells `x`, which know their places."""
        for conv in self.kernel_convs:
            x = conv(x)
        return self.conv_kernel(x)

    def classes_of(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits [N, num_classes, S, S] of the cells `x`, without places."""
        for conv in self.cls_convs:
            x = conv(x)
        return self.conv_cls(x)


def feature_level(i: int, in_ch: int, mid_ch: int, groups: int) -> nn.Sequential:
    """Return what takes level `i` to a quarter of the image; the last one knows its places."""
    places = 2 if i == FEATURE_LEVELS - 1 else 0
    layers: dict[str, nn.Layer] = {}
    for j in range(max(i, 1)):
        layers[f"conv{j}"] = ConvGN(mid_ch if j else in_ch + places, mid_ch, 3, groups)
        if i:
            layers[f"upsample{j}"] = nn.Upsample(
                scale_factor=2, mode="bilinear", align_corners=False
            )
    return named_sequential(layers)


def solov2(
    layers: tuple[int, ...],
    num_classes: int = 80,
    num_grids: Sequence[int] = GRIDS,
    stacked_convs: int = 4,
    width: float = 1.0,
    frozen_stages: int = 1,
    norm_eval: bool = True,
) -> SOLO:
    """Build SOLOv2 on ResNet-50 (by `layers`); see `paddle_impl.models.detection.solo.solo`."""
    base, grids = first_width(width, least=2), checked_grids(num_grids)
    head = SOLOv2Head(base * 4, group_count(base), num_classes, grids, stacked_convs)
    return SOLO(layers, head, width, frozen_stages, norm_eval)
