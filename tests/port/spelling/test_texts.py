"""Brackets: what stands in its own, and what needs some beside a sign or an attribute."""

import pytest

from port.spelling.texts import atom, is_bracketed, worked_out
from port.write.files.texts import in_brackets

OWN = ["(a & b)", "((a) & (b))", "(\n    a\n    & b\n)", "(a, b)", "(a,)", "()", "(*a, b)"]
OWN += ["(a := f(b))", "(one for one in a)", "((a), (b))"]
NONE = [
    "(a) & (b)",
    "(x >= g[:, :-1]) & (x < g[:, 1:])",
    "(a), (b)",
    "(a - b) * (c)",
    "(a).b + (c)",
]


@pytest.mark.parametrize("text", OWN)
def test_brackets_of_its_own_are_enough(text):
    assert is_bracketed(text)
    assert atom(text) == text == in_brackets(text)


@pytest.mark.parametrize("text", NONE)
def test_brackets_at_both_ends_are_not_one_pair(text):
    assert not is_bracketed(text)
    assert atom(text) == f"({text})" == in_brackets(text)


def test_what_is_taken_away_twice():
    assert worked_out("1", "-", "1 - momentum") == "momentum"
    assert worked_out("1", "-", "(1 - a * b)") == "(a * b)"
    assert worked_out("1", "-", "2 - momentum") == "1 - (2 - momentum)"
