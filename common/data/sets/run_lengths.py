"""Masks that are stored as run lengths or polygons, drawn by pycocotools (extra `coco`).

What pycocotools would take for something else, or read and write beyond its arrays, is refused
before: annotation files may come from anywhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import UserError

BITS, MORE, SIGN = 0x1F, 0x20, 0x10  # of a character of compressed run lengths
LONGEST = 12  # characters of one run


def masks_for(dataset: str) -> Any:
    """Return pycocotools' module of masks. Raises UserError where it is not installed.

    dataset: whose annotations need it, in the words of a config.
    """
    try:
        from pycocotools import mask
    except ModuleNotFoundError:
        raise UserError(
            f"data.dataset={dataset} needs pycocotools, which is not installed: "
            "pip install 'torch2paddle-seg[coco]'"
        ) from None
    return mask


def mask_of(segmentation: Any, size_hw: tuple[int, int], masks: Any) -> np.ndarray:
    """Return the pixels of polygons or run lengths, as COCO has them: uint8 [H, W], 0 or 1.

    masks: of `masks_for`. Raises ValueError, TypeError or KeyError for what is none of them, or is
    of another size.
    """
    require_region(segmentation, size_hw)
    if isinstance(segmentation, Mapping) and isinstance(segmentation["counts"], str):
        return compressed(segmentation, size_hw, masks)
    drawn: np.ndarray = masks.decode(masks.frPyObjects(segmentation, *size_hw))
    return drawn if drawn.ndim == 2 else drawn.max(axis=2)


def require_region(segmentation: Any, size_hw: tuple[int, int]) -> None:
    """Raise as `mask_of` does, without drawing anything."""
    if not isinstance(segmentation, Mapping):
        _require_polygons(segmentation, size_hw)
        return
    runs = segmentation["counts"]
    _require_runs(_unpacked(runs) if isinstance(runs, str) else runs, segmentation["size"], size_hw)


def compressed(segmentation: Any, size_hw: tuple[int, int], masks: Any) -> np.ndarray:
    """Return the pixels of a compressed mask: uint8 [H, W], 0 or 1.

    Raises ValueError for what is none, or is one of another size.
    """
    if not isinstance(segmentation, Mapping) or not isinstance(segmentation.get("counts"), str):
        raise ValueError("no compressed run lengths")
    _require_runs(_unpacked(segmentation["counts"]), segmentation.get("size", ()), size_hw)
    runs = {"size": list(size_hw), "counts": segmentation["counts"].encode()}
    found: np.ndarray = masks.decode(runs)
    return found


def _unpacked(counts: str) -> list[int]:
    """Return the runs of a compressed text; each but the first three is a difference."""
    runs: list[int] = []
    value = shift = 0
    for sign in counts:
        bits = ord(sign) - 48
        if not 0 <= bits < 2 * MORE or shift >= 5 * LONGEST:
            raise ValueError("no compressed run lengths")
        value |= (bits & BITS) << shift
        shift += 5
        if bits & MORE:
            continue
        if bits & SIGN:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("no compressed run lengths")
    return runs


def _require_runs(runs: Any, size: Any, size_hw: tuple[int, int]) -> None:
    if list(size) != list(size_hw):
        raise ValueError(f"run lengths of size {size} in an image of {list(size_hw)}")
    if not all(type(run) is int and run >= 0 for run in runs):
        raise ValueError("run lengths that are no whole numbers of at least 0")
    if sum(runs) != size_hw[0] * size_hw[1]:
        raise ValueError(f"run lengths of {sum(runs)} pixels in all, not of the whole image")


def _require_polygons(polygons: Any, size_hw: tuple[int, int]) -> None:
    if not isinstance(polygons, Sequence) or isinstance(polygons, str) or not polygons:
        raise ValueError("no polygon and no run lengths")
    most = 2 * max(size_hw)  # some lie a little outside of their image
    for polygon in polygons:
        if isinstance(polygon, str) or not isinstance(polygon, Sequence):
            raise ValueError(f"a polygon that is {polygon!r:.40}, not a list of numbers")
        # Four numbers would be taken for a box.
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon of {len(polygon)} numbers; three points are six")
        strange = [x for x in polygon if type(x) not in (int, float) or not -most <= x <= most]
        if strange:
            raise ValueError(f"a polygon with {strange[0]!r:.40} for a place in pixels")
