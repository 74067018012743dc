"""Slots and objects, one to one: the best sum, padding, ties, what is not finite."""

from itertools import permutations

import numpy as np
import pytest

from common.panoptic.max_deeplab.matching import FREE, chosen_pairs, objects_of_slots


@pytest.mark.parametrize("slots", [4, 3, 2])
def test_the_sum_is_the_best_of_all(slots):
    similarity = np.random.default_rng(slots).random((5, slots, 3))
    sizes = np.array([3, 2, 1, 0, 3])
    found = objects_of_slots(similarity, sizes)
    for image, size in enumerate(sizes):
        pairs = [(s, k) for s, k in enumerate(found[image]) if k != FREE]
        assert len(pairs) == min(slots, size)
        assert len({k for _, k in pairs}) == len(pairs)
        assert all(k < size for _, k in pairs)
        wide = np.zeros((4, 4))
        wide[:slots, :size] = similarity[image, :, :size]
        best = max(sum(wide[s, k] for s, k in enumerate(p)) for p in permutations(range(4)))
        assert sum(similarity[image, s, k] for s, k in pairs) == pytest.approx(best)


def test_what_is_not_finite_is_no_reason_to_stop():
    similarity = np.array([[[np.nan, 1.0], [np.inf, 0.5]]])
    found = objects_of_slots(similarity, np.array([2]))
    assert sorted(found[0]) == [0, 1]


def test_pairs():
    found = chosen_pairs(np.array([[1, FREE]]), 3)
    assert found.tolist() == [[[False, True, False], [False] * 3]]
