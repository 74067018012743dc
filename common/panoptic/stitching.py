"""ViP-DeepLab's stitching: the ids of one frame's instances handed on to the next frame.

Source: google-research/deeplab2, model/post_processor/vip_deeplab.py (at 64bc1c1), its NumPy
version, and of clips ViP_DeepLab_Demo.ipynb.
"""

from collections.abc import Sequence

import numpy as np

from common.errors import ConfigError, DataError
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
        offset: at least 0; deeplab2 has 128 in NumPy and label_divisor // 2 in TensorFlow.

    Raises:
        ConfigError: a negative offset, by which an instance would become another, or stuff.
        DataError: shapes differ, or a raised instance would have the id of the next class (the
            NumPy version goes on).
    """
    if offset < 0:
        raise ConfigError(f"stitching: expected an offset of 0 or more, got {offset}")
    instances = _instances(next_panoptic, label_divisor)
    highest = int(instances.max(initial=0)) + offset
    if instances.any() and highest >= label_divisor:
        raise DataError(
            f"stitching: an instance is raised by {offset} to {highest}, which is none below the "
            f"label_divisor {label_divisor}; take a smaller offset, or a larger label_divisor"
        )
    renamed = _same_instances(concat_panoptic, next_panoptic, label_divisor)
    stitched = next_panoptic + np.where(instances > 0, offset, 0).astype(next_panoptic.dtype)
    for own, other in renamed.items():
        stitched[next_panoptic == own] = other
    return stitched


def stitch_clip(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], label_divisor: int, offset: int
) -> list[np.ndarray]:
    """Return the maps of a clip, in which an instance has one id from its first frame on.

    A frame between two pairs was predicted by both. A segment of the later pair takes the id of
    what covers most of it in the earlier one (of equals the larger id), in its second frame too;
    what `stitch` raised there is new, and gets the next free numbers. The demo renames one id after
    another in place, so that an id may be renamed twice; here each is once.

    Args:
        pairs: (map of frame t, `stitch`ed map of frame t + 1), for every t; whole numbers [H, W].
        label_divisor, offset: as of `stitch`.

    Returns:
        Whole numbers [H, W], one more than pairs; the first is that of the first pair.

    Raises DataError where numbers of instances reach `label_divisor`.
    """
    clip, highest = [pairs[0][0]], 0
    for panoptic, following in pairs:
        highest = max(highest, int(_instances(panoptic, label_divisor).max(initial=0)))
        instances = _instances(following, label_divisor)
        new = instances > offset
        last = int((instances[new] - offset).max(initial=0)) + highest
        if last >= label_divisor:
            raise DataError(
                f"stitching: instances of a clip reach the number {last}, and the label_divisor "
                f"{label_divisor} has ids for {label_divisor - 1}; raise it, or take shorter clips"
            )
        joined = following + np.where(new, highest - offset, 0).astype(following.dtype)
        for own, earlier in _covered_by(panoptic, clip[-1]).items():
            joined[(following == own) & ~new] = earlier
        clip.append(joined)
        highest = max(highest, int(_instances(joined, label_divisor).max(initial=0)))
    return clip


def _covered_by(panoptic: np.ndarray, earlier: np.ndarray) -> dict[int, int]:
    """Return for each id of a map the one of another map of the frame that covers most of it."""
    there = (panoptic >= 0) & (earlier >= 0)
    shared = overlaps(panoptic[there], earlier[there])
    order = np.argsort(shared.pixels, kind="stable")
    first, second = shared.first[order].tolist(), shared.second[order].tolist()
    return dict(zip(first, second, strict=True))


def _instances(panoptic: np.ndarray, divisor: int) -> np.ndarray:
    """Return the number of the instance of every pixel, 0 of stuff and void."""
    found: np.ndarray = np.where(panoptic >= 0, panoptic % divisor, 0)
    return found


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
