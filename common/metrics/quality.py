"""Panoptic quality from counts by class: how good matches are, and how many there should be.

Counts are float64 [classes, 4]: sum of the IoUs of the matches, their number (TP), segments of the
truth without a match (FN), predicted ones without (FP). All but the first are whole numbers, which
add up exactly.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from common.metrics.matching import Matches

IOU, TP, FN, FP = range(4)  # columns
QUALITIES = ("pq", "sq", "rq")  # panoptic, of segmentation (the matches' IoU), of recognition
Quality = dict[str, Any]


def add_matches(counts: np.ndarray, found: Matches, place: Mapping[int, int] | None = None) -> None:
    """Add matches to counts [classes, 4]; `place`: the row of every class, by default its number.

    IoUs are added one by one, in their order.
    """
    for category, iou in found.hits:
        row = category if place is None else place[category]
        counts[row, IOU] += iou
        counts[row, TP] += 1
    for column, categories in ((FN, found.missed), (FP, found.false)):
        for category in categories:
            counts[category if place is None else place[category], column] += 1


def class_quality(row: Sequence[float]) -> Quality:
    """Return PQ, SQ and RQ, 0..1, of one class of which there are segments; SQ is 0 without TP."""
    iou, hits, missed, false = (float(value) for value in row)
    expected = hits + 0.5 * false + 0.5 * missed
    return {"pq": iou / expected, "sq": iou / hits if hits else 0.0, "rq": hits / expected}


def mean_quality(counts: Iterable[Sequence[float]]) -> Quality:
    """Return the means over the classes of which there are segments, and "n", how many those are.

    NaN where there is none.
    """
    there = [class_quality(row) for row in counts if any(row[TP:])]
    means: Quality = {}
    for name in QUALITIES:
        total = 0.0
        for one in there:  # as panopticapi adds them: one by one
            total += one[name]
        means[name] = total / len(there) if there else float("nan")
    return {**means, "n": len(there)}


def quality_of_groups(counts: np.ndarray, things: Sequence[bool]) -> dict[str, Quality]:
    """Return the means over all classes, the things and the stuff.

    counts: [classes, 4]. things: which classes are things.
    """
    rows = counts.tolist()
    named = list(zip(rows, things, strict=True))
    return {
        "All": mean_quality(rows),
        "Things": mean_quality(row for row, thing in named if thing),
        "Stuff": mean_quality(row for row, thing in named if not thing),
    }


def quality_by_class(counts: np.ndarray, names: Sequence[Any]) -> dict[Any, Quality]:
    """Return the quality of every class by its name; zeros of one without segments."""
    none = dict.fromkeys(QUALITIES, 0.0)
    rows: Mapping[Any, list[float]] = dict(zip(names, counts.tolist(), strict=True))
    return {name: class_quality(row) if any(row[TP:]) else dict(none) for name, row in rows.items()}
