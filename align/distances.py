"""How far two arrays are apart: one pass in blocks, without temporaries of their size."""

import math
from dataclasses import dataclass

import numpy as np

BLOCK = 1 << 15  # values at a time: they stay in the cache


@dataclass(frozen=True)
class Distance:
    """The largest |port - reference|, its flat index, and the largest |reference|.

    The two are NaN, at the first NaN, where one of the arrays holds NaN, or infinities meet.
    """

    worst: float = 0.0
    index: int = 0
    largest: float = 0.0


def distance(reference: np.ndarray, port: np.ndarray) -> Distance:
    """Return how far `port` is from `reference`, in float64 (complex128). Shapes are equal."""
    complexes = "c" in (reference.dtype.kind, port.dtype.kind)
    exact = np.complex128 if complexes else np.float64
    theirs, ours = reference.reshape(-1), port.reshape(-1)
    worst, index, largest = -1.0, 0, 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, theirs.size, BLOCK):
            expected = theirs[start : start + BLOCK].astype(exact, copy=False)
            apart = np.abs(ours[start : start + BLOCK].astype(exact, copy=False) - expected)
            at = int(apart.argmax())
            found = float(apart[at])
            if math.isnan(found):
                return Distance(math.nan, start + at, math.nan)
            if found > worst:
                worst, index = found, start + at
            if complexes:
                largest = max(largest, float(np.abs(expected).max()))
            else:
                largest = max(largest, float(expected.max()), -float(expected.min()))
    return Distance(max(worst, 0.0), index, largest)


def total_of_channel(array: np.ndarray) -> float:
    """Return the largest sum of magnitudes of one channel of `array` [N, C, ...]."""
    if array.ndim < 2:
        return float(np.abs(array).sum())
    channels = (float(np.abs(array[:, index]).sum()) for index in range(array.shape[1]))
    return max(channels, default=0.0)
