"""Which predicted segments are which of the truth: the rule of panoptic quality.

Kirillov, He, Girshick, Rother, Dollar, "Panoptic Segmentation", CVPR 2019, section 4.1.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

ENOUGH = 0.5  # an IoU above it: no two segments can share one


class Known(NamedTuple):
    """What is known of a segment: its class, and its pixels."""

    category: int
    pixels: int


class Matches(NamedTuple):
    """What came of an image or a tube, by class.

    hits: class and IoU of every match, by the ids of truth and prediction ascending. missed: the
    classes of segments of the truth without one. false: those of predicted segments without.
    """

    hits: list[tuple[int, float]]
    missed: list[int]
    false: list[int]


def match(
    shared: Mapping[tuple[int, int], int],
    truth: Mapping[int, Known],
    predicted: Mapping[int, Known],
    void: int,
    ignored: Callable[[int, int], int],
) -> Matches:
    """Match segments of one class whose IoU is above a half.

    What lies in void does not count in a union. A predicted segment without a match of which more
    than half is ignored is no false one.

    Args:
        shared: pixels by (id of the truth, id of the prediction), ascending; no pair without any.
        truth: the segments that are to be found, by id.
        predicted: all predicted segments, by id.
        void: the id of the truth's pixels that do not count.
        ignored: pixels of a predicted segment (id, class) that would be no fault.
    """
    hits, found, used = [], set(), set()
    for (own, other), pixels in shared.items():
        target, guess = truth.get(own), predicted.get(other)
        if target is None or guess is None or target.category != guess.category:
            continue
        union = guess.pixels + target.pixels - pixels - shared.get((void, other), 0)
        iou = pixels / union
        if iou > ENOUGH:
            hits.append((target.category, iou))
            found.add(own)
            used.add(other)
    missed = [target.category for own, target in truth.items() if own not in found]
    false = [
        guess.category
        for other, guess in predicted.items()
        if other not in used and ignored(other, guess.category) / guess.pixels <= ENOUGH
    ]
    return Matches(hits, missed, false)
