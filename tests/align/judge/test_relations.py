"""What a wrong tensor is of the right one, of every kind of numbers."""

import numpy as np
import pytest

from align.causes.steps import value_of
from align.judge.relations import relation, same

RNG = np.random.default_rng(0)
SPECTRUM = RNG.standard_normal((2, 3, 5)) + 1j * RNG.standard_normal((2, 3, 5))
PIXELS = RNG.integers(0, 256, 300).astype("uint8")


@pytest.mark.parametrize(
    ("reference", "port", "kind"),
    [
        (SPECTRUM, SPECTRUM * 2.5, "scaled"),
        (SPECTRUM, SPECTRUM.conj(), "conjugated"),
        (SPECTRUM, SPECTRUM * 1j, None),
        (np.array([True, False, False]), np.array([False, False, True]), "reversed"),
        (np.array([True, False, True]), np.array([True, True, False]), None),
        (np.array([0, 9, 255], "uint8"), np.array([255, 9, 0], "uint8"), "mapped"),
        (PIXELS, PIXELS[::-1], "reversed"),
    ],
)
def test_numbers_of_every_kind_are_related(reference, port, kind):
    """Booleans have no difference, and those of unsigned numbers wrap around."""
    found = relation(reference, port)
    assert (None if found is None else found.kind) == kind


def test_one_smaller_value_is_not_cut_off():
    reference = np.array([0.1, 0.9, 0.7, 0.2])
    assert relation(np.array(0.6), np.array(0.4)) is None
    assert relation(reference, np.array([0.1, 0.8, 0.7, 0.2])) is None
    assert "cut off at 0.5" in str(relation(reference, np.minimum(reference, 0.5)))


def test_gates_in_another_order():
    """A recurrent weight whose gates were exchanged says which rows stand where."""
    weight = RNG.standard_normal((8, 3))
    found = relation(weight, weight[[2, 3, 0, 1, 4, 5, 6, 7]])
    assert found is not None
    assert (found.kind, found.values["order"]) == ("rows_reordered", "2-3, 0-1, 4-7")
    other = weight[[2, 3, 0, 1, 4, 5, 6, 7]]
    other[7, 0] += 1.0
    assert relation(weight, other) is None


@pytest.mark.filterwarnings("error")
def test_the_largest_numbers_overflow_without_a_word_and_are_no_relation():
    """Attention masks hold them; their distance and their squares are infinite."""
    largest = np.finfo(np.float64).max
    masked = np.array([1.0, -largest, 2.0, -largest])
    assert relation(masked, np.array([1.0, largest, 2.0, 3.0])) is None
    assert relation(masked + 1j, np.array([1.0, largest, 2.0, 3.0]) + 1j) is None
    assert relation(masked, np.array([2.0, -largest, 2.0, -largest])) is None
    assert same(masked, -masked, 1.0) is False
    one, other = (value_of(x, flows=True) for x in (masked, -masked))
    assert not one.is_same(other, 1e-9)
    assert one.is_same(value_of(masked, flows=True), 1e-9)
