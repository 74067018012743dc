"""Cross-entropy of both sides, what all class losses refuse, and the tables of criteria."""

import numpy as np
import pytest

from common.errors import UserError
from tests.nets.losses.criteria import (
    VOID,
    assert_twins,
    both,
    evaluate,
    make_logits,
    ohem_case,
    pixel_losses_numpy,
)


def test_cross_entropy_is_the_mean_over_counted_pixels(side):
    logits, label = ohem_case("hard")
    (value,), ((gradient,),) = evaluate(side, side.build("cross_entropy"), logits, label)
    losses, expected = pixel_losses_numpy(logits, label)
    valid = (label != VOID).sum()
    assert value == pytest.approx(losses.sum() / valid, rel=1e-12)
    np.testing.assert_allclose(gradient, expected / valid, rtol=0, atol=1e-15)


def test_cross_entropy_of_ignored_pixels_only_is_zero_and_nan_stays_nan(side):
    label = np.full((1, 4, 4), VOID, np.int64)
    logits = make_logits(label, 0, 6)
    (value,), ((gradient,),) = evaluate(side, side.build("cross_entropy"), logits, label)
    assert value == 0.0
    assert not gradient.any()
    label[0, 1, 1] = 2
    logits[0, 0, 1, 1] = np.nan
    (value,), _ = evaluate(side, side.build("cross_entropy"), logits, label)
    assert np.isnan(value)


@pytest.mark.parametrize("name", ["cross_entropy", "summed_cross_entropy"])
def test_a_pixel_may_cost_more_than_64(name):
    """Paddle's own cross-entropy stops there on CPUs; FCN's begins at some hundreds a pixel."""
    label = np.array([[[0, 1, VOID], [2, 0, 1]]])
    logits = np.random.default_rng(0).standard_normal((1, 3, 2, 3)) * 300
    logits[0, 0, 0, 2] = np.nan  # where nothing counts
    for side in both():
        (value,), ((gradient,),) = evaluate(side, side.build(name), logits, label)
        pixels, _ = pixel_losses_numpy(np.nan_to_num(logits), label)
        assert pixels.max() > 300
        expected = pixels.sum() / (1 if name == "summed_cross_entropy" else 5)
        assert value == pytest.approx(expected, rel=1e-12)
        counted = np.broadcast_to((label != VOID)[:, None], gradient.shape)
        assert np.isfinite(gradient[counted]).all()


def test_twins_cross_entropy():
    assert_twins("cross_entropy", *ohem_case("hard"), 1e-12)


@pytest.mark.parametrize("name", ["cross_entropy", "ohem"])
@pytest.mark.parametrize(
    ("logits", "label", "told"),
    [
        (np.zeros((2, 5, 6, 8)), np.zeros((2, 6, 8), np.int32), "label is .*int32.*int64"),
        (np.zeros((2, 5, 6, 8)), np.zeros((2, 1, 6, 8), np.int64), r"\[2, 1, 6, 8\]"),
        (np.zeros((2, 5, 6, 8)), np.zeros((1, 6, 8), np.int64), r"\[1, 6, 8\]"),
        (np.zeros((2, 5, 3, 4)), np.zeros((2, 6, 8), np.int64), "differ in height or width"),
        (np.zeros((2, 5, 6, 8), np.int64), np.zeros((2, 6, 8), np.int64), "floating"),
    ],
)
def test_class_losses_refuse_what_does_not_fit(side, name, logits, label, told):
    with pytest.raises(UserError, match=told):
        side.build(name)(side.tensor(logits), side.tensor(label))


def test_twins_have_the_same_table():
    reference, port = (side.losses.LOSSES for side in both())
    assert list(reference) == list(port)
    assert [c.__name__ for c in reference.values()] == [c.__name__ for c in port.values()]
