"""Sizes of the images that a detector resizes and pads by itself, as torchvision does."""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np

from common.errors import UserError

STRIDE = 32  # of a pyramid's coarsest level: batches are padded to multiples of it

Size = tuple[int, int]  # height, width


def resized(size: Size, min_size: int, max_size: int) -> Size:
    """Return what an image of `size` becomes: shortest side `min_size`, longest up to `max_size`.

    Parts of pixels are cut off. Raises UserError where nothing would be left.
    """
    scale = min(min_size / min(size), max_size / max(size))
    height, width = math.floor(size[0] * scale), math.floor(size[1] * scale)
    if min(height, width) < 1:
        raise UserError(
            f"an image of {size[0]}x{size[1]} pixels resized to a longest side of {max_size} has a "
            f"side of no pixel; set max_size higher (min_size is {min_size})"
        )
    return height, width


def padded(sizes: Sequence[Sequence[int]], multiple: int = STRIDE) -> Size:
    """Return the least height and width, multiples of `multiple`, that hold images of `sizes`."""
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def one_each(size: Size | Sequence[Size], images: int) -> list[Size]:
    """Return a (height, width) for each of `images` images, of one for all or of one for each.

    Raises UserError where their number is another.
    """
    first = size[0]
    pairs = [(first, size[1])] * images if isinstance(first, int) else list(size)
    if len(pairs) != images:
        raise UserError(f"{len(pairs)} sizes are given for a batch of {images} images")
    return cast("list[Size]", pairs)


def ratios(old: Size, new: Size) -> tuple[float, float]:
    """Return new / old of height and width, rounded to float32 as torchvision's."""
    height, width = np.asarray(new, dtype=np.float32) / np.asarray(old, dtype=np.float32)
    return float(height), float(width)


def level_scale(level: int, sizes: Sequence[Size]) -> float:
    """Return pixels of a map `level` rows high for a pixel of the batch of `sizes`.

    The nearest power of two: the images were padded before the map was computed.
    """
    share = np.float32(level / max(height for height, _ in sizes))
    return float(2.0 ** np.round(np.log2(share)))
