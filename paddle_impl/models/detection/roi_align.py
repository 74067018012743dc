"""RoIAlign (He et al., ICCV 2017), on one map and on the level of a pyramid that fits."""

import math
from collections.abc import Sequence

import paddle
from paddle import nn
from paddle.vision import ops

from common.instances.roi_samples import roi_samples
from common.instances.sizes import Size, level_scale
from paddle_impl.models.detection.boxes import box_area, split

SIDE, LEVEL = 224, 4  # a box of this side is pooled from this level (Lin et al., CVPR 2017, eq. 1)
ROUNDING = 1e-6  # added to the level before its fraction is cut off
SHARE = 64  # boxes whose samples are held at a time


def roi_align(
    x: paddle.Tensor,
    boxes: Sequence[paddle.Tensor],
    output_size: int,
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> paddle.Tensor:
    """Return `x` [N, C, h, w] averaged in the bins of boxes: [K, C, output_size, output_size].

    What torchvision's compiled kernel and `paddle.vision.ops.roi_align` compute: a sample more than
    one cell outside of the map is 0, any other is taken at the border; boxes have no gradient.

    Args:
        x: the map.
        boxes: [K, 4] of each image, in pixels.
        output_size: bins of a side.
        scale: cells of the map for a pixel.
        sampling_ratio: samples of a bin's side; 0 or less: as many as it has cells.
        aligned: cells' centres are at their half places; False: at their whole ones, and no box is
            thinner than a cell.
    """
    counts = [len(one) for one in boxes]
    if not sum(counts):
        return paddle.zeros([0, x.shape[1], output_size, output_size], dtype=x.dtype)
    if aligned:
        step = SHARE if sampling_ratio > 0 else 1
        parts = [
            align_image(image, one[i : i + step], output_size, scale, sampling_ratio, aligned)
            for image, one in zip(x, boxes, strict=True)
            for i in range(0, len(one), step)
        ]
        return paddle.concat(parts)
    return ops.roi_align(
        x,
        paddle.concat(list(boxes)).astype(x.dtype),
        paddle.to_tensor(counts, dtype="int32"),
        output_size,
        spatial_scale=scale,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )


def align_image(
    image: paddle.Tensor,
    boxes: paddle.Tensor,
    output_size: int,
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> paddle.Tensor:
    """Return `image` [C, h, w] in the bins of `boxes` [K, 4]: [K, C, bins, bins].

    Paddle's own backward pass widens aligned boxes to a cell, which its forward pass does not.
    """
    cells = boxes.astype(image.dtype).numpy()
    size = (image.shape[1], image.shape[2])
    found, (rows, columns) = roi_samples(cells, size, output_size, scale, sampling_ratio, aligned)
    channels = image.shape[0]
    flat = image.reshape([channels, -1])
    total = paddle.zeros([channels, len(found[0][0])], dtype=image.dtype)
    for places, shares in found:
        cell = paddle.index_select(flat, paddle.to_tensor(places), axis=1)
        total = total + cell * paddle.to_tensor(shares)
    samples = total.reshape([channels, -1, output_size, rows, output_size, columns])
    return samples.mean(axis=[3, 5]).transpose([1, 0, 2, 3])


class MultiScaleRoIAlign(nn.Layer):
    """RoIAlign of each box on the level that fits its size (Lin et al., CVPR 2017, eq. 1).

    Args:
        output_size: bins of a side.
        sampling_ratio, aligned: as of `roi_align`.
        side: of a box that is pooled from the third level, in pixels.
    """

    def __init__(
        self, output_size: int, sampling_ratio: int = 2, aligned: bool = False, side: int = SIDE
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.side = side

    def forward(
        self,
        features: Sequence[paddle.Tensor],
        boxes: Sequence[paddle.Tensor],
        sizes: Sequence[Size],
    ) -> paddle.Tensor:
        """Return what is pooled of all boxes, in their order: [K, C, output_size, output_size].

        features: levels [N, C, h, w]; those after the fourth are for the proposals alone. boxes:
        [K, 4] of each image. sizes: (height, width) of each image before padding.
        """
        features = features[:4]
        scales = [level_scale(x.shape[2], sizes) for x in features]
        fitting = level_of(paddle.concat(list(boxes)), scales, self.side)
        counts = [len(one) for one in boxes]
        pooled, places = [], []
        for i, (x, scale) in enumerate(zip(features, scales, strict=True)):
            places.append(paddle.nonzero(fitting == i)[:, 0])
            chosen = [
                one[paddle.nonzero(which == i)[:, 0]]
                for one, which in zip(boxes, split(fitting, counts), strict=True)
            ]
            pooled.append(
                roi_align(x, chosen, self.output_size, scale, self.sampling_ratio, self.aligned)
            )
        return paddle.concat(pooled)[paddle.argsort(paddle.concat(places))]


def level_of(boxes: paddle.Tensor, scales: Sequence[float], side: int = SIDE) -> paddle.Tensor:
    """Return the place among levels of `scales` that fits each of `boxes` [K, 4]: int64 [K]."""
    first, last = -math.log2(scales[0]), -math.log2(scales[-1])
    level = LEVEL + paddle.log2(paddle.sqrt(box_area(boxes)) / side)
    return (paddle.clip(paddle.floor(level + ROUNDING), first, last) - first).astype("int64")
