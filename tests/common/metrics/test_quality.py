"""Panoptic quality from counts."""

import math

import numpy as np
import pytest

from common.metrics.quality import mean_quality, quality_by_class, quality_of_groups

COUNTS = np.array([[1.5, 2, 1, 3], [0, 0, 2, 0], [0, 0, 0, 0]])  # IoU, TP, FN, FP


def test_quality_is_that_of_the_paper():
    found = quality_by_class(COUNTS, ("car", "road", "sky"))
    assert found["car"] == {"pq": 1.5 / 4, "sq": 0.75, "rq": 0.5}
    assert found["car"]["pq"] == found["car"]["sq"] * found["car"]["rq"]
    assert found["road"] == found["sky"] == {"pq": 0, "sq": 0, "rq": 0}


def test_a_class_without_segments_is_in_no_mean():
    assert quality_of_groups(COUNTS, (True, False, False)) == {
        "All": {"pq": 0.1875, "sq": 0.375, "rq": 0.25, "n": 2},
        "Things": {"pq": 0.375, "sq": 0.75, "rq": 0.5, "n": 1},
        "Stuff": {"pq": 0, "sq": 0, "rq": 0, "n": 1},
    }


def test_nothing_to_score_is_not_a_number():
    nothing = mean_quality(COUNTS[2:].tolist())
    assert nothing.pop("n") == 0
    assert all(map(math.isnan, nothing.values()))


@pytest.mark.parametrize("seed", range(3))
def test_counts_of_parts_add_up(seed):
    parts = np.random.default_rng(seed).integers(0, 9, (4, 5, 4)).astype(float)
    assert quality_by_class(parts.sum(0), range(5)) == quality_by_class(
        parts[:2].sum(0) + parts[2:].sum(0), range(5)
    )
