"""Anchors (Ren et al., NeurIPS 2015): boxes of fixed sizes and shapes around every cell."""

from collections.abc import Sequence

import torch
from torch import nn

from common.instances.sizes import Size

SIZES = (32, 64, 128, 256, 512)  # of the levels, fine to coarse
RATIOS = (0.5, 1.0, 2.0)  # height / width


class AnchorGenerator(nn.Module):
    """Anchors of one size and several shapes on each level.

    Args:
        sizes: square root of an anchor's area, of each level.
        ratios: height / width.
        rounded: half sides are whole numbers, as torchvision's and not detectron2's.
    """

    def __init__(
        self, sizes: Sequence[int] = SIZES, ratios: Sequence[float] = RATIOS, rounded: bool = True
    ) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.ratios = tuple(ratios)
        self.rounded = rounded

    def forward(self, levels: Sequence[torch.Tensor], size: Size) -> list[torch.Tensor]:
        """Return the boxes [h * w * shapes, 4] of each of `levels` [N, C, h, w].

        The order is row, column, shape. size: (height, width) of the padded images.
        """
        return [self.of_level(i, x, size) for i, x in enumerate(levels)]

    def of_level(self, i: int, level: torch.Tensor, size: Size) -> torch.Tensor:
        """Return the boxes of level `i`, placed from 0 on in whole steps of pixels."""
        height, width = level.shape[2:]
        y = torch.arange(height).to(level) * (size[0] // height)
        x = torch.arange(width).to(level) * (size[1] // width)
        y, x = y.reshape([-1, 1, 1]), x.reshape([1, -1, 1])
        y, x = y.expand([-1, width, 1]), x.expand([height, -1, 1])
        places = torch.cat([x, y, x, y], dim=2).reshape([-1, 1, 4])
        return (places + self.shapes(self.sizes[i], level)).reshape([-1, 4])

    def shapes(self, size: int, like: torch.Tensor) -> torch.Tensor:
        """Return the boxes [1, shapes, 4] around (0, 0), of the dtype of `like`."""
        tall = torch.tensor(self.ratios, dtype=torch.float64).sqrt()
        height, width = size * tall / 2, size / tall / 2
        boxes = torch.stack([-width, -height, width, height], dim=1)
        return (boxes.round() if self.rounded else boxes).to(like)[None]
