"""Ids of segments: in maps, and in the colours of a PNG as panopticapi writes them."""

from pathlib import Path

import numpy as np
from PIL import Image

from common.data.read_image import read_png
from common.errors import DataError

BASE = 256  # id = R + 256 G + 65536 B
MOST = BASE**3  # ids lie below it


def rgb_to_ids(colors: np.ndarray) -> np.ndarray:
    """Return the ids uint32 [..., H, W] that colours uint8 [..., H, W, 3] stand for."""
    parts = colors.astype(np.uint32)
    ids: np.ndarray = parts[..., 0] + BASE * parts[..., 1] + BASE**2 * parts[..., 2]
    return ids


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Return colours uint8 [..., H, W, 3] of ids, whole numbers [..., H, W].

    Raises DataError where an id has no colour: it is negative, or has more than 24 bits.
    """
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < MOST:
        raise DataError(
            f"ids of segments lie in 0..{MOST - 1} (24 bits), got {int(ids.min())} to "
            f"{int(ids.max())}"
        )
    wide = ids.astype(np.uint32)
    return np.stack([wide % BASE, wide // BASE % BASE, wide // BASE**2], axis=-1).astype(np.uint8)


def read_ids(path: Path) -> np.ndarray:
    """Read a panoptic PNG: uint32 [H, W], 0 where there is no segment.

    Raises:
        DamagedFileError: absent, damaged, or no PNG in colour.
    """
    return rgb_to_ids(np.asarray(read_png(path, ("RGB",))))


def save_ids(ids: np.ndarray, path: Path) -> None:
    """Write ids [H, W] as a panoptic PNG. Raises DataError as `ids_to_rgb`."""
    Image.fromarray(ids_to_rgb(ids)).save(path, format="PNG", compress_level=4)
