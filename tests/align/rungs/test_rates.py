"""What a port's schedule is of the reference's: said only where several rates tell it."""

import pytest

from align.rungs.training.rates import in_terms_of
from common.schedules import warmup_poly

SETTINGS = {"base_lr": 0.1, "warmup_start_lr": 0.01, "warmup_steps": 3, "max_steps": 40}


def rates(of=lambda step: step, count=12):
    return [warmup_poly(max(of(step), 0), power=0.9, **SETTINGS) for step in range(count)]


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (lambda step: step + 1, "one step ahead of the reference's schedule"),
        (lambda step: step - 1, "one step behind the reference's schedule"),
        (lambda step: step // 4, "stepped once in 4 steps"),
        (lambda step: 0, "the same in all 12 steps"),
        (lambda step: 2 * step, None),
        (lambda step: step, None),
    ],
)
def test_a_schedule_is_told_by_all_its_rates(of, words):
    said = in_terms_of(rates(), rates(of))
    assert (said is None) if words is None else words in said


def test_a_schedule_of_epochs_is_no_shift_where_few_steps_ran():
    """At step 1 a rate that has not moved yet is that of the step before."""
    assert in_terms_of(rates(count=2), rates(lambda step: step // 7, 2)) is None
    assert "the same in all 4" in in_terms_of(rates(count=4), rates(lambda step: step // 7, 4))


def test_a_shift_that_one_rate_shows_is_none():
    theirs = [0.1, 0.1, 0.1, 0.01, 0.01]
    ours = [0.1, 0.1, 0.01, 0.01, 0.01]
    assert in_terms_of(theirs, ours) is None
