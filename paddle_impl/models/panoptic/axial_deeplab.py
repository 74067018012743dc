"""Axial-DeepLab (Wang et al., ECCV 2020): Axial-ResNet under Panoptic-DeepLab's two decoders.

The authors released ImageNet's trunks only. Names of the trunk are theirs
(csrhddlam/axial-deeplab), those of the decoders are bowenc0221/panoptic-deeplab's.
"""

from collections.abc import Sequence

import paddle
from paddle import nn

from common.shapes import FULL_WIDTH, stepped_width
from paddle_impl.layers import keep_statistics
from paddle_impl.models.backbones.axial import AxialNet
from paddle_impl.models.panoptic.panoptic_deeplab import (
    KEPT,
    RATES,
    PanopticDecoder,
    init_decoder,
    upsample,
    upsample_offset,
)


class AxialDeepLab(nn.Layer):
    """Axial-DeepLab. Image [N, 3, H, W] float32, RGB, ImageNet-normalised.

    H and W are multiples of `output_stride`. The trunk's tables of positions keep the lengths of
    ImageNet's files; for lines of other lengths they are resized linearly while the net runs, so
    that a file fills the trunk as it is.

    Returns [semantic logits [N, num_classes, H, W], center heat map [N, 1, H, W], offset to the
    center [N, 2, H, W] in pixels, y first] in both modes, none of them through a sigmoid.

    See `axial_deeplab` for the arguments. Raises ConfigError for a stride that it has not.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        scale: float,
        num_classes: int,
        output_stride: int,
        pool_window: Sequence[int] | None,
        table_size: int,
        width: float,
    ) -> None:
        super().__init__()
        self.backbone = AxialNet(layers, scale, table_size, output_stride, True, width)
        planes = self.backbone.planes
        base = stepped_width(FULL_WIDTH, width, 4)  # of the decoders, whatever the trunk's scale
        low = [(planes * 8, base * 2), (planes * 4, base), (planes * 2, base // 2)]
        rates = RATES[output_stride]
        self.decoder = PanopticDecoder(planes * 16, base, low, num_classes, rates, pool_window)
        init_decoder(self.decoder)

    def forward(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        """Return [semantic, center, offset] of the image `x` [N, 3, H, W], at its size."""
        semantic, center, offset = self.decoder(self.backbone(x))
        return [upsample(semantic, x), upsample(center, x), upsample_offset(offset, x)]


def axial_deeplab(
    layers: tuple[int, ...],
    scale: float,
    num_classes: int = 19,
    output_stride: int = 16,
    pool_window: Sequence[int] | None = None,
    table_size: int = 224,
    bn_kept: float = KEPT,
    width: float = 1.0,
) -> AxialDeepLab:
    """Build Axial-DeepLab on an Axial-ResNet (by `layers` and `scale`).

    Args:
        num_classes: of the semantic map.
        output_stride: 16 as in the paper, or 32.
        pool_window: (height, width) of the image pooling in cells of the last map; None: all of it.
        table_size: image size of the trunk's files, for which the tables of positions are stored.
        bn_kept: share of its statistics that a BatchNorm keeps.
        width: scales all channels; 1.0 is the paper's net.
    """
    window = pool_window
    net = AxialDeepLab(layers, scale, num_classes, output_stride, window, table_size, width)
    keep_statistics(net, bn_kept)
    return net
