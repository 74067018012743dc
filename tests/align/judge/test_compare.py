"""The judge on two arrays: what is equal, what differs, what cannot be told."""

import numpy as np
import pytest

from align.judge.compare import Allowance, compare
from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison


def verdict(reference, port, where="output:0", **allowance):
    into = Comparison("layer", "", where, "layer")
    return compare(np.asarray(reference), np.asarray(port), Allowance(**allowance), into)


def test_worst_element_and_both_values_are_named():
    found = verdict([1.0, 2.0, 4.0], [1.0, 2.5, 4.0])
    assert found.verdict == DIFFERS
    assert found.worst_index == (1,)
    assert (found.reference_value, found.port_value) == (2.0, 2.5)
    assert found.relative_error == 0.125


@pytest.mark.parametrize(
    ("reference", "port"),
    [
        (np.ones((2, 1)), np.ones((1, 2))),
        (np.ones(3), np.ones((3, 1))),
        (np.ones(3), np.float64(1.0)),
        (np.ones(3), np.ones(3, np.int64)),
        (np.ones(3, bool), np.ones(3, np.int64)),
        ([1, 2, 3], [1, 2, 4]),
        ([np.inf, 1.0], [-np.inf, 1.0]),
        ([np.nan, 1.0], [5.0, 1.0]),
        ([5.0, 1.0], [np.nan, 1.0]),
    ],
)
def test_what_broadcasts_or_hides_in_other_tools_differs(reference, port):
    assert verdict(reference, port).verdict == DIFFERS


def test_not_finite_on_both_sides_is_unchecked():
    assert verdict([np.nan, 1.0], [np.nan, 1.0]).verdict == UNCHECKED
    # Infinities are values, as in a mask: they are compared, and so is the rest.
    assert verdict([np.inf, 1.0], [np.inf, 1.0]).verdict == EQUAL
    assert verdict([-np.inf, 1.0], [-np.inf, 2.0]).verdict == DIFFERS
    assert verdict([np.nan, np.inf], [np.nan, np.inf]).verdict == UNCHECKED


def test_other_integer_width_and_zeros_are_equal():
    assert verdict(np.arange(3, dtype=np.int64), np.arange(3, dtype=np.int32)).verdict == EQUAL
    assert verdict(np.zeros(3), np.zeros(3)).verdict == EQUAL
    assert verdict(np.zeros(3), np.full(3, 1e-300)).verdict == DIFFERS
    assert verdict(np.zeros((0, 3)), np.zeros((0, 3))).verdict == EQUAL


def test_allowance_is_measured_movement_and_where_nothing_is_left_it_is_noise():
    assert verdict([1.0], [1.0 + 1e-13]).verdict == DIFFERS
    assert verdict([1.0], [1.0 + 1e-13], rounding=1e-14).verdict == EQUAL
    assert verdict([1.0], [1.0 + 1e-13], summed=100_000).verdict == EQUAL
    assert verdict([1e-17], [-1e-17], rounding=1e-16).verdict == UNCHECKED
    assert verdict([1e-17], [-1e-17], where="grad:bias", rounding=1e-16).verdict == NOISE


def test_whole_numbers_that_the_reference_moves_are_never_passed_by_their_count():
    assert verdict([3, 1], [3, 1], rounding=1.0).verdict == EQUAL
    found = verdict([3, 1], [4, 1], rounding=1.0)
    assert (found.verdict, found.cause.kind) == (UNCHECKED, "choice_unseen")
    assert verdict([3] * 9, [4] * 9, rounding=1.0).verdict == DIFFERS
    assert verdict(np.arange(9), np.arange(9) + 1, rounding=2.0).verdict == DIFFERS
    assert verdict([1.0], [1.0], random="poisson").verdict == UNCHECKED
