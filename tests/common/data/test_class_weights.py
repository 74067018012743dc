"""Weights of classes from their pixels, against the formulas worked out by hand."""

import math

import numpy as np
import pytest

from common.data.class_weights import FORMULAS, class_weights, count_labels
from common.errors import DataError

# 8 pixels of which 6 count (four of class 0, two of class 1), and 4 of class 0 alone.
LABELS = [np.array([[0, 0, 0, 0], [1, 1, 255, 255]]), np.zeros((2, 2), np.int64)]


def test_pixels_are_counted_by_class_and_by_image():
    counts = count_labels(LABELS, 3, 255)
    assert counts.pixels.tolist() == [8, 2, 0]
    assert counts.beside.tolist() == [10, 6, 0]  # void is in no frequency


def test_median_frequency_is_of_images_that_show_the_class():
    weights = class_weights(count_labels(LABELS, 3, 255), "median_frequency")
    frequency = (8 / 10, 2 / 6)
    median = sum(frequency) / 2
    assert weights[:2] == pytest.approx([median / f for f in frequency], rel=1e-5)
    assert weights[2] == 0.0  # it has no frequency


def test_enet_is_one_over_the_logarithm():
    weights = class_weights(count_labels(LABELS, 3, 255), "enet")
    shares = (0.8, 0.2, 0.0)
    assert weights == pytest.approx([1 / math.log(1.02 + share) for share in shares], rel=1e-5)
    assert list(FORMULAS) == ["median_frequency", "enet"]


def test_void_may_be_a_class_and_a_strange_value_is_an_error():
    assert count_labels([np.array([[0, 1, 2]])], 3, 0).pixels.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match=r"label 1 holds 7; expected classes 0\.\.2 and 255"):
        count_labels([LABELS[0], np.array([[7]])], 3, 255)
    with pytest.raises(DataError, match="no pixel"):
        class_weights(count_labels([np.full((2, 2), 255)], 3, 255), "enet")
