"""What one set of first weights leaves open another shows, tensor by tensor; no more than that."""

import pytest

from align.judge.comparison import DIFFERS, EQUAL, UNCHECKED, Comparison, not_compared
from align.judge.words import Cause
from align.report.report import Report
from commands.port.other_weights import SEEDS, shown_by_others
from commands.port.prove import Climb


def climbed(name, seed, **verdicts):
    """Return a rung with one comparison for each verdict, {call: verdict}."""
    calls = [
        Comparison(call, f"{call}()", "output:0", "layer", verdict=verdicts[call])
        for call in verdicts
    ]
    report = Report("forward", calls)
    return Climb(name, report.exit_code, report, seed=seed)


def shown(first, *others):
    """Return the outcome after other weights, which are asked for in turn, and their names."""
    asked = []

    def climb(further, names):
        asked.append((further, names))
        return [others[further - 1]]

    return shown_by_others([climbed("eval", 7, conv=EQUAL), first], climb)[1], asked


def test_two_others_show_a_tensor_each():
    first = climbed("train", 7, conv=EQUAL, first_relu=UNCHECKED, second_relu=UNCHECKED)
    others = [
        climbed("train", 8, conv=EQUAL, first_relu=EQUAL, second_relu=UNCHECKED),
        climbed("train", 9, conv=EQUAL, first_relu=UNCHECKED, second_relu=EQUAL),
    ]
    outcome, asked = shown(first, *others)
    assert (outcome.code, outcome.shown_by) == (0, {8, 9})
    assert asked == [(1, ["train"]), (2, ["train"])], "only the rung that is open"


def test_a_difference_with_any_weights_is_one():
    first = climbed("train", 7, conv=EQUAL, relu=UNCHECKED)
    outcome, asked = shown(first, climbed("train", 8, conv=DIFFERS, relu=EQUAL))
    assert (outcome.code, outcome.seed, len(asked)) == (1, 8, 1)


@pytest.mark.parametrize("of_others", [UNCHECKED, None])
def test_what_no_weights_show_stays_open(of_others):
    verdicts = {"conv": EQUAL} | ({"relu": of_others} if of_others else {})
    others = [climbed("train", 7 + further, **verdicts) for further in range(1, SEEDS)]
    outcome, asked = shown(climbed("train", 7, conv=EQUAL, relu=UNCHECKED), *others)
    assert (outcome.code, outcome.shown_by, len(asked)) == (2, set(), SEEDS - 1)


def test_the_gradient_of_a_weight_is_of_a_layer_and_of_no_call():
    def found(seed, verdict):
        report = Report("backward", [Comparison("fc", "", "grad:weight", "layer", verdict=verdict)])
        return Climb("backward", report.exit_code, report, seed=seed)

    outcome, _ = shown(found(7, UNCHECKED), found(8, EQUAL))
    assert (outcome.code, outcome.shown_by) == (0, {8})


def test_nothing_compared_is_shown_by_nothing():
    report = Report("forward", [not_compared(Cause("no_output"))])
    others = [climbed("train", 7 + further, conv=EQUAL) for further in range(1, SEEDS)]
    outcome, _ = shown(Climb("train", report.exit_code, report, seed=7), *others)
    assert outcome.code == 2
