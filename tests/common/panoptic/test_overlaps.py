"""What two maps of segments have in common."""

import numpy as np
import pytest

from common.errors import DataError
from common.panoptic.overlaps import overlaps


@pytest.mark.parametrize("seed", range(6))
def test_overlaps_are_counted_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 12, 2))
    ids = np.array([0, 1, 255, 1 << 24, (1 << 32) - 1], np.uint64)
    first, second = ids[rng.integers(0, 5, size)], ids[rng.integers(0, 3, size)]
    counted = {}
    for pair in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True):
        counted[pair] = counted.get(pair, 0) + 1
    found = overlaps(first, second)
    assert found.by_pair() == counted
    assert list(found.by_pair()) == sorted(counted)
    areas = [
        dict(zip(*map(list, np.unique(m, return_counts=True)), strict=True))
        for m in (first, second)
    ]
    assert list(found.areas()) == areas


def test_maps_without_pixels_have_no_overlap():
    assert overlaps(np.zeros((0, 3), np.uint32), np.zeros((0, 3), np.uint32)).by_pair() == {}


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (np.zeros((2, 2), int), "shapes"),
        (np.full((2, 3), -1), "holds -1"),
        (np.full((2, 3), 1 << 32), "4294967296"),
        (np.zeros((2, 3)), "whole numbers"),
    ],
)
def test_what_is_no_map_of_ids_is_refused(second, said):
    with pytest.raises(DataError, match=said):
        overlaps(np.zeros((2, 3), int), second)
