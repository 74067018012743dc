"""Which object of an image each box stands for, by how much the two overlap.

The rules are those of torchvision 0.28.0, models/detection/_utils.py:296-387.
"""

import numpy as np

from common.errors import ConfigError, UserError

BELOW = -1  # a box that overlaps no object enough: background
BETWEEN = -2  # one that is neither: nothing is learnt from it


def match(
    overlaps: np.ndarray, *, high: float, low: float, best_of_each_object: bool
) -> np.ndarray:
    """Return the object of each box, int64 [N]: its index, `BELOW` or `BETWEEN`.

    A box belongs to the object that it overlaps most (of equal ones the first) where that is at
    least `high`; it is background below `low`. Without objects all is background.

    Args:
        overlaps: intersection over union of M objects and N boxes, floating [M, N].
        high, low: the thresholds.
        best_of_each_object: the boxes that overlap an object more than all others do, ties
            included, are never background: each belongs to the object that itself overlaps most.

    Raises ConfigError where `low` is above `high`, UserError for an array of another rank.
    """
    if low > high:
        raise ConfigError(f"thresholds low {low} and high {high}; set low to at most high")
    overlaps = np.asarray(overlaps)
    if overlaps.ndim != 2:
        raise UserError(f"overlaps are {list(overlaps.shape)}, expected [objects, boxes]")
    objects, boxes = overlaps.shape
    if objects == 0 or boxes == 0:
        return np.full(boxes, BELOW, np.int64)
    own = overlaps.argmax(0).astype(np.int64)
    most = overlaps.max(0)
    found = np.where(most < low, BELOW, np.where(most < high, BETWEEN, own))
    if best_of_each_object:
        best = (overlaps == overlaps.max(1, keepdims=True)).any(0)
        found = np.where(best, own, found)
    return found


def labels_of(matches: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """Return what each box is taught, int64 [N]: a class, 0 for background, -1 for nothing.

    Args:
        matches: of the boxes, as `match` returned them.
        labels: of the objects, int64 [M], 1 and above; None: every object is a 1.
    """
    of_objects = np.ones(len(matches), np.int64)
    if labels is not None and len(labels):
        of_objects = np.asarray(labels, np.int64)[np.maximum(matches, 0)]
    return np.where(matches >= 0, of_objects, np.where(matches == BETWEEN, -1, 0))
