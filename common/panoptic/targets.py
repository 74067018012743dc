"""Targets of Panoptic-DeepLab: classes, a heat map of centres, the way to the centre of each pixel.

Sources: bowenc0221/panoptic-deeplab, segmentation/data/transforms/target_transforms.py (at
cf8e20b), and detectron2, projects/Panoptic-DeepLab/panoptic_deeplab/target_generator.py (at
02b5c4e). They differ in which pixel the heat of a centre lies around: see `CENTRES`.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.errors import ConfigError
from common.panoptic.segments import Segment, places_of, semantic_of, thing_ids

# The pixel of a centre. bowenc0221 cuts (target_transforms.py:124), detectron2 rounds, and of two
# that are as near takes the even one (target_generator.py, int(round(center_y))).
CENTRES: dict[str, Callable[[float], int]] = {"int": int, "round": round}
Targets = dict[str, Any]


def panoptic_deeplab_targets(
    ids: np.ndarray,
    segments: Sequence[Segment],
    things: Collection[int] | np.ndarray,
    *,
    centre_rounding: str,
    sigma: int = 8,
    ignore_stuff_in_offset: bool = False,
    small_instance_area: int = 0,
    small_instance_weight: int = 1,
    ignore_crowd_in_semantic: bool = False,
) -> Targets:
    """Return what Panoptic-DeepLab is trained on.

    Args:
        ids: uint32 [H, W], 0 where there is no segment.
        segments: of the image; those without pixels do not count.
        things: the classes that are things, or a truth value for every class.
        centre_rounding: "int" as bowenc0221, "round" as detectron2; see `CENTRES`.
        sigma: of the Gaussian around a centre, in pixels; it is cut at 3 sigma + 1.
        ignore_stuff_in_offset: offsets count on things alone.
        small_instance_area: pixels; a smaller instance has `small_instance_weight` in the classes.
        ignore_crowd_in_semantic: crowds are 255 among the classes.

    Returns:
        semantic: int64 [H, W], void 255. semantic_weights: float32 [H, W].
        center: float32 [1, H, W], the largest of the Gaussians. center_weights: float32 [H, W], 1
        on segments that are no crowd, of stuff too. center_points: [y, x] of every thing, pixels.
        offset: float32 [2, H, W], (y, x), from a pixel of a thing to its centre, which is the mean
        of its pixels; computed in float64. offset_weights: float32 [H, W].
        As with both authors a crowd of things has a centre and offsets; only the weights leave
        crowds out.

    Raises:
        ConfigError: an unknown `centre_rounding`, or a `sigma` below 1.
        SegmentsError: an id twice, or a class that a byte does not hold.
    """
    if centre_rounding not in CENTRES or sigma < 1:
        raise ConfigError(
            f"targets: expected a centre_rounding of {' or '.join(CENTRES)} and a sigma of at "
            f"least 1, got {centre_rounding!r} and {sigma}"
        )
    known = thing_ids(things)
    crowd = np.array([*(bool(row["iscrowd"]) for row in segments), True])
    thing = np.array([*(row["category_id"] in known for row in segments), False])
    place = places_of(ids, segments)
    semantic = semantic_of(ids, segments)
    if ignore_crowd_in_semantic:
        semantic[crowd[place]] = 255
    centres = _centres(place, thing)
    small = thing & (centres.area < small_instance_area)
    weights = np.where(small, small_instance_weight, 1).astype(np.float32)
    counted = ~crowd & thing if ignore_stuff_in_offset else ~crowd
    points = [[float(centres.y[k]), float(centres.x[k])] for k in centres.shown]
    pixels = [(CENTRES[centre_rounding](y), CENTRES[centre_rounding](x)) for y, x in points]
    return {
        "semantic": semantic.astype(np.int64),
        "semantic_weights": weights[place],
        "center": _heat(pixels, ids.shape, sigma)[None],
        "center_weights": (~crowd).astype(np.float32)[place],
        "center_points": points,
        "offset": centres.offset,
        "offset_weights": counted.astype(np.float32)[place],
    }


class _Centres(NamedTuple):
    """Of every segment that is a thing: pixels and mean place; 0 of others.

    offset: float32 [2, H, W], the way from every pixel of a thing to that place, 0 elsewhere.
    shown: which segments are things with pixels.
    """

    area: np.ndarray
    y: np.ndarray
    x: np.ndarray
    offset: np.ndarray
    shown: list[int]


def _centres(place: np.ndarray, thing: np.ndarray) -> _Centres:
    """Return the centres of the segments that `place` [H, W] names, float64."""
    there = np.nonzero(thing[place])
    of = place[there]
    area = np.bincount(of, minlength=len(thing))
    y, x = (
        np.bincount(of, weights=axis, minlength=len(thing)) / np.maximum(area, 1) for axis in there
    )
    offset = np.zeros((2, *place.shape), np.float32)
    offset[0][there], offset[1][there] = y[of] - there[0], x[of] - there[1]
    return _Centres(area, y, x, offset, np.flatnonzero(area).tolist())


def _heat(pixels: Sequence[tuple[int, int]], size_hw: tuple[int, ...], sigma: int) -> np.ndarray:
    """Return the largest of the Gaussians around `pixels` (y, x): float32 [H, W]."""
    height, width = size_hw
    reach = 3 * sigma + 1
    line = np.arange(-reach, reach + 1, dtype=np.float64) ** 2
    hill = np.exp(-(line + line[:, None]) / (2 * sigma**2)).astype(np.float32)
    heat = np.zeros((height, width), np.float32)
    for y, x in pixels:
        top, left = max(y - reach, 0), max(x - reach, 0)
        bottom, right = min(y + reach + 1, height), min(x + reach + 1, width)
        part = hill[top - y + reach : bottom - y + reach, left - x + reach : right - x + reach]
        window = heat[top:bottom, left:right]
        np.maximum(window, part, out=window)
    return heat
