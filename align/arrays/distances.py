"""How far two arrays are apart: one pass in blocks, without temporaries of their size."""

import math
from dataclasses import dataclass
from typing import Any

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
    exact: Any = np.complex128 if complexes else np.float64
    theirs, ours = reference.reshape(-1), port.reshape(-1)
    worst, index, largest = -1.0, 0, 0.0
    work = np.empty(min(BLOCK, theirs.size), exact)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, theirs.size, BLOCK):
            expected = theirs[start : start + BLOCK].astype(exact, copy=False)
            apart = np.subtract(ours[start : start + BLOCK], expected, work[: len(expected)])
            apart = np.abs(apart) if complexes else np.abs(apart, apart)
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


def magnitude(array: np.ndarray) -> float:
    """Return the largest |array|, 0 of nothing; NaN where it holds one."""
    if not array.size:
        return 0.0
    if array.dtype.kind == "c":
        return float(np.abs(array).max())
    return max(float(array.max()), -float(array.min()))


def total_of_channel(array: np.ndarray) -> float:
    """Return the largest sum of magnitudes of one channel of `array` [N, C, ...]."""
    if array.ndim < 2:
        return float(np.abs(array).sum())
    if not array.size:
        return 0.0
    other = tuple(axis for axis in range(array.ndim) if axis != 1)
    count = max(1, BLOCK * array.shape[1] // array.size)  # channels at a time
    starts = range(0, array.shape[1], count)
    parts = (np.abs(array[:, at : at + count]).sum(other) for at in starts)
    return max(float(part.max()) for part in parts)
