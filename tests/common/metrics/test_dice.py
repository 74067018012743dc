"""The Dice score that U-Net's schedule follows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.errors import DataError
from common.metrics import ForegroundDice

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5))
LABELS = hnp.arrays(np.int64, SHAPES, elements=st.sampled_from([0, 1, 2, 255]))


def score(prediction, label, num_classes=3):
    dice = ForegroundDice(num_classes)
    dice.update(np.asarray(prediction), np.asarray(label))
    return dice.mean()


@given(label=LABELS, data=st.data())
def test_dice_is_the_set_definition(label, data):
    prediction = data.draw(hnp.arrays(np.int64, label.shape, elements=st.integers(0, 2)))
    images = []
    for predicted, true in zip(prediction, label, strict=True):
        valid = true != 255
        classes = []
        for k in (1, 2):  # not the background
            p, t = (predicted == k) & valid, true == k
            sizes = p.sum() + t.sum()
            classes.append((2 * (p & t).sum() + 1e-6) / (sizes + 1e-6) if sizes else 1.0)
        images.append(np.mean(classes))
    assert score(prediction, label) == pytest.approx(np.mean(images), abs=1e-12)


def test_images_count_alike_however_they_are_batched():
    rng = np.random.default_rng(0)
    prediction, label = rng.integers(0, 2, (2, 5, 4, 6))
    apart = ForegroundDice(2)
    for index in range(5):
        apart.update(prediction[index : index + 1], label[index : index + 1])
    assert apart.mean() == score(prediction, label, 2)
    # Not the Dice of all pixels together: an image with a small car counts as any other.
    one, none = np.zeros((2, 1, 4, 4), np.int64)
    one[0, 0, 0] = 1
    both = np.concatenate([one, np.ones((1, 4, 4), np.int64)])
    guess = np.concatenate([none, np.ones((1, 4, 4), np.int64)])
    assert score(guess, both, 2) == pytest.approx(0.5, abs=1e-6)


def test_nothing_to_score_is_not_a_number():
    assert math.isnan(ForegroundDice(2).mean())
    assert math.isnan(score([[[0]]], [[[0]]], num_classes=1))


def test_shapes_and_classes_are_checked():
    with pytest.raises(DataError, match="must be equal"):
        score(np.zeros((1, 2, 2), int), np.zeros((1, 2, 3), int))
    with pytest.raises(DataError, match=r"must be 0\.\.2"):
        score([[[3]]], [[[0]]])
    with pytest.raises(DataError, match="must be equal"):
        score(np.zeros((1, 2, 2), int), np.zeros((2, 2, 2), int))
