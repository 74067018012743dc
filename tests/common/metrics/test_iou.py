import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.errors import ConfigError, DataError
from common.metrics import ABSENT_CLASS, ConfusionMatrix

LABELS = hnp.arrays(
    np.int64,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.sampled_from([0, 1, 2, 255]),
)


def matrix(prediction, label, num_classes=3):
    counts = ConfusionMatrix(num_classes)
    counts.update(np.asarray(prediction), np.asarray(label))
    return counts


@given(label=LABELS, data=st.data())
def test_iou_is_the_set_definition(label, data):
    prediction = data.draw(hnp.arrays(np.int64, label.shape, elements=st.integers(0, 2)))
    iou = matrix(prediction, label).iou("nan")
    valid = label != 255
    for k in range(3):
        hit = ((prediction == k) & (label == k)).sum()
        union = (((prediction == k) & valid) | (label == k)).sum()
        assert math.isnan(iou[k]) if union == 0 else iou[k] == hit / union


def test_rows_are_labels_and_columns_predictions():
    assert matrix([1, 1, 0], [0, 0, 255]).counts.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 0]]


def test_counts_stay_exact_where_float32_stops_counting():
    counts = ConfusionMatrix(2)
    counts.counts[0, 0] = 2**24
    counts.update(np.zeros((1, 1), np.int64), np.zeros((1, 1), np.int64))
    assert counts.counts[0, 0] == 2**24 + 1
    assert np.float32(2**24) + np.float32(1) == np.float32(2**24)


@pytest.mark.parametrize("absent", ABSENT_CLASS)
def test_an_absent_class_counts_as_its_source_counts_it(absent):
    counts = matrix([0, 1, 1, 0], [0, 1, 0, 255])  # IoU 1/2, 1/2; class 2 occurs nowhere
    expected = {"nan": math.nan, "skip": 0.5, "zero": 1 / 3, "one": 2 / 3}[absent]
    assert counts.mean_iou(absent) == pytest.approx(expected, abs=1e-15, nan_ok=True)


def test_nothing_counted_is_not_a_number_but_never_a_crash():
    counts = matrix([0, 1], [255, 255])
    assert math.isnan(counts.mean_iou("skip"))
    assert math.isnan(counts.pixel_accuracy())


def test_small_dtypes_do_not_overflow_the_cell_number():
    label = np.full((2, 2), 18, np.uint8)
    assert matrix(label, label, 19).counts[18, 18] == 4


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        (np.zeros((1, 4), int), np.zeros((4,), int), r"shape \(1, 4\), label \(4,\)"),
        (np.array([0, 3]), np.array([0, 0]), r"prediction must be 0..2, got 3 \(1 such pixels\)"),
        (np.array([-1, 0]), np.array([255, 0]), r"prediction must be 0..2, got -1"),
        (np.array([0, 0]), np.array([0, 7]), r"label must be 0..2 or 255 \(void\), got 7"),
        (np.array([0.0]), np.array([0]), "prediction must be integers, got float64"),
        (np.array([0]), np.array([True]), "label must be integers, got bool"),
    ],
)
def test_what_cannot_be_counted_is_an_error_and_counts_nothing(prediction, label, message):
    counts = ConfusionMatrix(3)
    with pytest.raises(DataError, match=message):
        counts.update(prediction, label)
    assert counts.counts.sum() == 0


def test_unknown_policy_and_impossible_classes():
    with pytest.raises(ConfigError, match="nan, skip, zero, one, got 'drop'"):
        ConfusionMatrix(2).iou("drop")
    with pytest.raises(ConfigError, match="19 classes, ignore_index 18"):
        ConfusionMatrix(19, ignore_index=18)


@given(label=LABELS, data=st.data())
def test_dice_and_weighted_iou_are_the_set_definitions(label, data):
    prediction = data.draw(hnp.arrays(np.int64, label.shape, elements=st.integers(0, 2)))
    counts, valid = matrix(prediction, label), label != 255
    weighted = 0.0
    for k, dice in enumerate(counts.dice("nan")):
        predicted, true = (prediction == k) & valid, label == k
        hit, sizes = (predicted & true).sum(), predicted.sum() + true.sum()
        assert math.isnan(dice) if sizes == 0 else dice == 2 * hit / sizes
        weighted += true.sum() * (hit / (sizes - hit) if sizes else 0)
    expected = weighted / valid.sum() if valid.any() else math.nan
    assert counts.frequency_weighted_iou() == pytest.approx(expected, abs=1e-12, nan_ok=True)
