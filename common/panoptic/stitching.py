"""ViP-DeepLab's stitching: the ids of one frame's instances handed on to the next frame.

Source: google-research/deeplab2, model/post_processor/vip_deeplab.py (at 64bc1c1), its NumPy
version.
"""

import numpy as np

from common.errors import DataError
from common.panoptic.overlaps import overlaps


def stitch(
    concat_panoptic: np.ndarray, next_panoptic: np.ndarray, label_divisor: int, offset: int
) -> np.ndarray:
    """Return a frame's panoptic map with the ids of the frame before it.

    An instance gets the id of the one of the other map that it has the largest IoU with, where
    that is mutual; there is no least IoU, and of equal ones the later pair counts, by ids
    ascending. Other instances keep their own, raised by `offset` against collisions. Stuff, and
    what is negative (void), stays.

    Args:
        concat_panoptic: whole numbers [H, W], class * label_divisor + instance, 0 of stuff: the
            frame grouped around the centres of the frame before, with whose ids.
        next_panoptic: the same frame on its own, of that shape.
        label_divisor: the step from class to class.
        offset: deeplab2 has 128 in NumPy and label_divisor // 2 in TensorFlow.

    Raises:
        DataError: shapes differ, or a raised instance would have the id of the next class (the
            NumPy version goes on).
    """
    instances = np.where(next_panoptic >= 0, next_panoptic % label_divisor, 0)
    highest = int(instances.max(initial=0)) + offset
    if instances.any() and not 0 < highest < label_divisor:
        raise DataError(
            f"stitching: an instance is raised by {offset} to {highest}, which is none below the "
            f"label_divisor {label_divisor}; take a smaller offset, or a larger label_divisor"
        )
    renamed = _same_instances(concat_panoptic, next_panoptic, label_divisor)
    stitched = next_panoptic + np.where(instances > 0, offset, 0).astype(next_panoptic.dtype)
    for own, other in renamed.items():
        stitched[next_panoptic == own] = other
    return stitched


def _same_instances(concat: np.ndarray, following: np.ndarray, divisor: int) -> dict[int, int]:
    """Return the id in `concat` of each instance of `following` that has one, both ways best."""
    there = (concat >= 0) & (following >= 0)
    if concat.shape != following.shape:
        raise DataError(
            f"stitching: the maps have shapes {list(concat.shape)} and {list(following.shape)}; "
            "both must be of one frame"
        )
    first, second, pixels = overlaps(concat[there], following[there])
    chosen = (
        (first // divisor == second // divisor) & (first % divisor > 0) & (second % divisor > 0)
    )
    areas = [_areas(concat), _areas(following)]
    ious = [
        (shared / (areas[0][a] + areas[1][b] - shared), a, b)
        for a, b, shared in zip(
            *(row[chosen].tolist() for row in (first, second, pixels)), strict=True
        )
    ]
    forward: dict[int, int] = {}
    back: dict[int, int] = {}
    for _, a, b in sorted(ious, key=lambda row: row[0]):  # stable: the larger ones last
        forward[a], back[b] = b, a
    return {b: a for a, b in forward.items() if back[b] == a}


def _areas(panoptic: np.ndarray) -> dict[int, int]:
    found, counts = np.unique(panoptic, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))
