"""OHEM of both sides, against the authors' rule in NumPy and against each other."""

from itertools import product

import numpy as np
import pytest

from common.errors import ConfigError
from tests.nets.losses.criteria import (
    CLASSES,
    VOID,
    assert_twins,
    evaluate,
    make_label,
    make_logits,
    ohem_case,
    ohem_numpy,
    pixel_losses_numpy,
)

OHEM_CASES = list(product(("hard", "easy"), (10, 120, 300)))


def test_ohem_cases_reach_every_branch():
    hard = {}
    for kind in ("hard", "easy"):
        logits, label = ohem_case(kind)
        hard[kind] = int((pixel_losses_numpy(logits, label)[0] > -np.log(0.7)).sum())
        valid = int((label != VOID).sum())
    assert 10 < hard["easy"] < 120 < hard["hard"] < 300
    assert valid < 300 < label.size  # ignored pixels count as zeros in the last case


@pytest.mark.parametrize(("kind", "min_kept"), OHEM_CASES)
def test_ohem_is_the_authors_rule(side, kind, min_kept):
    logits, label = ohem_case(kind)
    criterion = side.build("ohem", threshold=0.7, min_kept=min_kept)
    (value,), ((gradient,),) = evaluate(side, criterion, logits, label)
    expected, expected_gradient = ohem_numpy(logits, label, 0.7, min_kept)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("kind", "min_kept"), OHEM_CASES)
def test_ohem_in_float32(side, kind, min_kept):
    logits, label = ohem_case(kind)
    criterion = side.build("ohem", dtype="float32", min_kept=min_kept)
    (value,), ((gradient,),) = evaluate(side, criterion, logits.astype(np.float32), label)
    assert gradient.dtype == np.float32
    assert value == pytest.approx(ohem_numpy(logits, label, 0.7, min_kept)[0], rel=2e-6)


def test_ohem_hard_count_equal_to_min_kept(side):
    logits, label = ohem_case("easy")
    losses, _ = pixel_losses_numpy(logits, label)
    count = int((losses > -np.log(0.7)).sum())
    for min_kept in (count - 1, count, count + 1):
        criterion = side.build("ohem", min_kept=min_kept)
        (value,), _ = evaluate(side, criterion, logits, label)
        assert value == pytest.approx(ohem_numpy(logits, label, 0.7, min_kept)[0], rel=1e-12)


def test_ohem_takes_a_sixteenth_by_default(side):
    logits, label = ohem_case("easy")
    (value,), _ = evaluate(side, side.build("ohem", threshold=0.3), logits, label)
    expected = ohem_numpy(logits, label, 0.3, label.size // 16)[0]
    assert value == pytest.approx(expected, rel=1e-12)


def test_ohem_without_zeros_for_ignored_pixels(side):
    logits, label = ohem_case("easy")
    criterion = side.build("ohem", min_kept=300, ignored_as_zeros=False)
    (value,), _ = evaluate(side, criterion, logits, label)
    losses, _ = pixel_losses_numpy(logits, label)
    assert value == pytest.approx(losses[label != VOID].mean(), rel=1e-12)


@pytest.mark.parametrize("settings", [{}, {"ignored_as_zeros": False}])
def test_ohem_of_ignored_pixels_only_is_zero_and_differentiable(side, settings):
    label = np.full((2, 6, 8), VOID, np.int64)
    criterion = side.build("ohem", min_kept=20, **settings)
    (value,), ((gradient,),) = evaluate(side, criterion, make_logits(label, 0, 3), label)
    assert value == 0.0
    assert gradient.shape == (2, CLASSES, 6, 8)
    assert not gradient.any()


@pytest.mark.parametrize("min_kept", [96, 97, 524_288])
def test_ohem_refuses_min_kept_of_the_whole_batch(side, min_kept):
    label = make_label((2, 6, 8), seed=4)
    criterion = side.build("ohem", min_kept=min_kept)
    with pytest.raises(ConfigError, match=rf"min_kept is {min_kept}.* only 96 pixels.*gives 6"):
        evaluate(side, criterion, make_logits(label, 0, 5), label)


@pytest.mark.parametrize("settings", [{"threshold": 0.0}, {"threshold": 1.5}, {"min_kept": 0}])
def test_ohem_refuses_settings_outside_their_range(side, settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        side.build("ohem", **settings)


@pytest.mark.parametrize(("kind", "min_kept"), OHEM_CASES)
def test_a_nan_at_one_counted_pixel_makes_ohem_nan(side, kind, min_kept):
    logits, label = ohem_case(kind)
    y, x = np.argwhere(label[1] != VOID)[7]
    logits[1, 2, y, x] = np.nan
    (value,), _ = evaluate(side, side.build("ohem", min_kept=min_kept), logits, label)
    assert np.isnan(value)


@pytest.mark.parametrize(("kind", "min_kept"), OHEM_CASES)
def test_twins_ohem(kind, min_kept):
    assert_twins("ohem", *ohem_case(kind), 1e-12, min_kept=min_kept)
