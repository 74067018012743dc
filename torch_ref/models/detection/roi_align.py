"""RoIAlign (He et al., ICCV 2017), on one map and on the level of a pyramid that fits."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from common.instances.roi_samples import roi_samples
from common.instances.sizes import Size, level_scale
from torch_ref.models.detection.boxes import box_area, split

SIDE, LEVEL = 224, 4  # a box of this side is pooled from this level (Lin et al., CVPR 2017, eq. 1)
ROUNDING = 1e-6  # added to the level before its fraction is cut off
SHARE = 64  # boxes whose samples are held at a time


def roi_align(
    x: torch.Tensor,
    boxes: Sequence[torch.Tensor],
    output_size: int,
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
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
    parts = [
        align_image(image, part, output_size, scale, sampling_ratio, aligned)
        for image, one in zip(x, boxes, strict=True)
        for part in one.detach().split(SHARE if sampling_ratio > 0 else 1)
    ]
    return torch.cat([*parts, x.new_zeros([0, x.shape[1], output_size, output_size])])


def align_image(
    image: torch.Tensor,
    boxes: torch.Tensor,
    output_size: int,
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
    """Return `image` [C, h, w] in the bins of `boxes` [K, 4]: [K, C, bins, bins]."""
    cells = boxes.to(image.dtype).cpu().numpy()
    size = (image.shape[1], image.shape[2])
    found, (rows, columns) = roi_samples(cells, size, output_size, scale, sampling_ratio, aligned)
    channels = image.shape[0]
    flat = image.reshape([channels, -1])
    total = image.new_zeros([channels, len(found[0][0])])
    for places, shares in found:
        cell = torch.index_select(flat, 1, torch.from_numpy(places).to(image.device))
        total = total + cell * torch.from_numpy(shares).to(image.device)
    samples = total.reshape([channels, -1, output_size, rows, output_size, columns])
    return samples.mean(dim=[3, 5]).permute([1, 0, 2, 3])


class MultiScaleRoIAlign(nn.Module):
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
        features: Sequence[torch.Tensor],
        boxes: Sequence[torch.Tensor],
        sizes: Sequence[Size],
    ) -> torch.Tensor:
        """Return what is pooled of all boxes, in their order: [K, C, output_size, output_size].

        features: levels [N, C, h, w]; those after the fourth are for the proposals alone. boxes:
        [K, 4] of each image. sizes: (height, width) of each image before padding.
        """
        features = features[:4]
        scales = [level_scale(x.shape[2], sizes) for x in features]
        fitting = level_of(torch.cat(list(boxes)), scales, self.side)
        counts = [len(one) for one in boxes]
        pooled, places = [], []
        for i, (x, scale) in enumerate(zip(features, scales, strict=True)):
            places.append(torch.nonzero(fitting == i)[:, 0])
            chosen = [
                one[torch.nonzero(which == i)[:, 0]]
                for one, which in zip(boxes, split(fitting, counts), strict=True)
            ]
            pooled.append(
                roi_align(x, chosen, self.output_size, scale, self.sampling_ratio, self.aligned)
            )
        return torch.cat(pooled)[torch.argsort(torch.cat(places))]


def level_of(boxes: torch.Tensor, scales: Sequence[float], side: int = SIDE) -> torch.Tensor:
    """Return the place among levels of `scales` that fits each of `boxes` [K, 4]: int64 [K]."""
    first, last = -math.log2(scales[0]), -math.log2(scales[-1])
    level = LEVEL + torch.log2(torch.sqrt(box_area(boxes)) / side)
    return (torch.clamp(torch.floor(level + ROUNDING), first, last) - first).to(torch.int64)
