"""How many pixels any two segments of two maps of ids have in common."""

from typing import NamedTuple

import numpy as np

from common.errors import DataError

BITS = 32  # of an id
MOST_IDS = 1 << BITS


class Overlaps(NamedTuple):
    """Pairs of ids that have pixels in common, ascending by the first map's, then the second's.

    first, second: int64 [pairs], the ids. pixels: int64 [pairs], in common, at least 1.
    """

    first: np.ndarray
    second: np.ndarray
    pixels: np.ndarray

    def by_pair(self) -> dict[tuple[int, int], int]:
        """Return the pixels of every pair, in the pairs' order."""
        pairs = zip(self.first.tolist(), self.second.tolist(), strict=True)
        return dict(zip(pairs, self.pixels.tolist(), strict=True))

    def areas(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the pixels of every id of the first map and of the second, ids ascending."""
        return _summed(self.first, self.pixels), _summed(self.second, self.pixels)


def overlaps(first: np.ndarray, second: np.ndarray) -> Overlaps:
    """Return what two maps of ids, whole numbers 0..2^32 - 1 of one shape, have in common.

    Lines of equal pixels are counted as one, so that it takes the time of one pass where segments
    are smooth. Raises DataError where shapes differ, or an id is none.
    """
    if first.shape != second.shape:
        raise DataError(
            f"maps of ids have shapes {list(first.shape)} and {list(second.shape)}; they must be "
            "equal"
        )
    pairs = _wide(first) << np.uint64(BITS)
    pairs |= _wide(second)
    begins = np.flatnonzero(pairs[1:] != pairs[:-1]) + 1
    begins = np.concatenate(([0], begins)) if pairs.size else begins
    lengths = np.diff(begins, append=pairs.size)
    found, inverse = np.unique(pairs[begins], return_inverse=True)
    pixels = np.bincount(inverse.ravel(), lengths, len(found)).astype(np.int64)
    return Overlaps(
        (found >> np.uint64(BITS)).astype(np.int64),
        (found & np.uint64(MOST_IDS - 1)).astype(np.int64),
        pixels,
    )


def _wide(ids: np.ndarray) -> np.ndarray:
    if ids.dtype.kind not in "iu":
        raise DataError(f"a map of ids must hold whole numbers, got {ids.dtype}")
    narrow = ids.dtype.kind == "u" and ids.dtype.itemsize <= BITS // 8
    if not narrow and ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < MOST_IDS:
        raise DataError(
            f"a map of ids holds {int(ids.min())} to {int(ids.max())}; expected 0..{MOST_IDS - 1}"
        )
    return ids.ravel().astype(np.uint64)


def _summed(ids: np.ndarray, pixels: np.ndarray) -> dict[int, int]:
    found, inverse = np.unique(ids, return_inverse=True)
    sums = np.bincount(inverse.ravel(), pixels, len(found)).astype(np.int64)
    return dict(zip(found.tolist(), sums.tolist(), strict=True))
