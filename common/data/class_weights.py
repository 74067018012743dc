"""Weights of the classes of a criterion, from the pixels that the training labels have of each."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from common.errors import DataError

ENET_OFFSET = 1.02  # the paper's c, which bounds the weights to 1..50
DIGITS = 6  # of a weight


class LabelCounts(NamedTuple):
    """Pixels of a set of labels.

    pixels: of each class, int64 [classes]. beside: pixels that count in the images that show the
    class, int64 [classes].
    """

    pixels: np.ndarray
    beside: np.ndarray


def count_labels(labels: Iterable[np.ndarray], classes: int, void: int) -> LabelCounts:
    """Count labels [H, W] of whole numbers in 0..255; `void` does not count.

    Raises DataError for a label that is neither a class nor void.
    """
    pixels, beside = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for number, label in enumerate(labels):
        held = np.bincount(np.asarray(label, np.uint8).ravel(), minlength=256)
        held[void] = 0
        if strange := np.flatnonzero(held[classes:]).tolist():
            raise DataError(
                f"training label {number} holds {strange[0] + classes}; expected classes "
                f"0..{classes - 1} and {void} for pixels that do not count"
            )
        pixels += held[:classes]
        beside += np.where(held[:classes] > 0, held.sum(), 0)
    return LabelCounts(pixels, beside)


def class_weights(counts: LabelCounts, formula: str) -> tuple[float, ...]:
    """Return a weight for each class, by a row of `FORMULAS`, to six digits.

    Raises DataError where no pixel counts.
    """
    if not counts.pixels.any():
        raise DataError("loss.weights: from_data needs labels, and no pixel of them has a class")
    weights = FORMULAS[formula](counts)
    return tuple(float(f"{weight:.{DIGITS}g}") for weight in weights)


def median_frequency(counts: LabelCounts) -> np.ndarray:
    """Return median frequency / frequency, where a frequency is of the images that show the class.

    A class that occurs nowhere has no frequency: its weight, which no pixel asks for, is 0.
    Source: Eigen and Fergus, arXiv 1411.4734, section 4.3.2; SegNet, arXiv 1511.00561.
    """
    shown = counts.pixels > 0
    frequency = counts.pixels[shown] / counts.beside[shown]
    weights = np.zeros(len(shown))
    weights[shown] = np.median(frequency) / frequency
    return weights


def enet(counts: LabelCounts) -> np.ndarray:
    """Return 1 / ln(1.02 + share of all pixels). Source: ENet, arXiv 1606.02147, section 5.2."""
    weights: np.ndarray = 1 / np.log(ENET_OFFSET + counts.pixels / counts.pixels.sum())
    return weights


FORMULAS = {"median_frequency": median_frequency, "enet": enet}
