"""What first weights leave unshown, others show: a ReLU that is zero for all of this input."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from commands.entry import CHECKED_BAD, COULD_NOT_CHECK
from commands.port.prove import Climb

SEEDS = 6  # of first weights and inputs, one after the other, while a tensor is left unshown
Climbing = Callable[[int, Sequence[str]], list[Climb]]


def shown_by_others(outcomes: list[Climb], climb: Climbing) -> list[Climb]:
    """Return the outcomes, with what was left open shown by other weights where they can.

    climb: climbs the named rungs with the weights and the input of a seed further on. A tensor
    counts as shown where the same tensor of the same call is equal there; a rung that differs with
    any weights differs.
    """
    for further in range(1, SEEDS):
        names = [one.name for one in outcomes if is_open(one)]
        if not names or any(one.code == CHECKED_BAD for one in outcomes):
            break
        found = {one.name: one for one in climb(further, names)}
        outcomes = [_joined(one, found.get(one.name)) for one in outcomes]
    return outcomes


def is_open(outcome: Climb) -> bool:
    """Tell whether a rung was climbed, and a tensor of it had nothing to compare."""
    return outcome.report is not None and outcome.code == COULD_NOT_CHECK


def _joined(first: Climb, other: Climb | None) -> Climb:
    """Return a rung with what `other` shows of its open tensors; `other` where that differs."""
    if other is None or other.report is None or not is_open(first):
        return first
    if other.code == CHECKED_BAD:
        return other
    equal = [one for one in other.report.calls if one.verdict == "equal"]
    shown = {_key(one): one for one in equal if one.layer or one.call}  # of none: nothing compared
    calls = [
        shown.get(_key(one), one) if one.verdict == "unchecked" else one
        for one in first.report.calls
    ]
    report = replace(first.report, calls=calls)
    seeds = first.shown_by | ({other.seed} if calls != first.report.calls else set())
    return replace(first, code=report.exit_code, report=report, shown_by=seeds)


def _key(one: Any) -> tuple[Any, ...]:
    """Return what tells a comparison apart from others of its rung."""
    return one.layer, one.call, one.where, one.kind, one.step
