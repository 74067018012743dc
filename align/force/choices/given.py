"""Judges the discrete steps of the port's code, and gives each the reference's choice."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np

from align.force.frame import RunningCall
from align.judge.compare import Allowance
from align.judge.ties import Apart, decisions_apart, orders_apart
from align.judge.words import Cause
from align.record.choices.choice import COMPARE, ORDER, Choice, are_fills, by_call
from align.record.draws import CallKey
from align.record.trace import CallPlace

MOST_UNPAIRED = 256  # comparisons of one call that are kept until it ends
AHEAD = 32  # so many of the reference's next steps may be the partner of one of the port's


Otherwise = Callable[[RunningCall, int, Choice, Cause], None]


class Tell(Protocol):
    """Hears of a step of a running call that chose otherwise: its number and where it parts."""

    def __call__(self, frame: RunningCall, number: int, own: Choice, apart: Apart) -> None:
        """See above."""


class ChoiceGiver:
    """Finds the partner of each discrete step of the port by what both are given.

    A step whose scores are not the reference's up to rounding has none: then code before it is
    wrong, or computes another thing, and what that comes to is judged where it leaves the call.

    Args:
        choices: what the reference chose.
        judged: paths of the reference's modules whose calls have a partner.
        allow: what rounding explains at a place.
        tell: see `Tell`.
        otherwise: hears of a step that does another thing with the same values: its running call,
            the number of the reference's, the port's, and what is other.
    """

    def __init__(
        self,
        choices: Iterable[Choice],
        judged: Collection[str],
        allow: Callable[[CallPlace], Allowance],
        tell: Tell,
        otherwise: Otherwise | None = None,
    ) -> None:
        self.choices = by_call(choices, judged)
        self.allow = allow
        self.tell = tell
        self.otherwise = otherwise
        self.paired: set[tuple[CallKey, int]] = set()  # calls, and numbers of their choices

    def next(self, frame: RunningCall, own: Choice) -> np.ndarray | None:
        """Return what a step of `frame` is to give in place of its own; None where that stands."""
        recorded = self.choices.get(frame.call.key, [])
        for number in range(frame.chosen, min(frame.chosen + AHEAD, len(recorded))):
            for theirs in _told_both_ways(recorded[number]):
                floor = self._floor(frame, number, theirs, own) if theirs.is_like(own) else None
                if floor is None:
                    continue
                frame.chosen = number + 1
                self.paired.add((frame.call.key, number))
                self._count(frame, number, theirs, own)
                apart = _apart(theirs, own, floor)
                if apart is None:
                    return None
                self.tell(frame, number, own, apart)
                return _as_many(theirs, own)
        if own.kind == COMPARE and len(frame.unpaired) < MOST_UNPAIRED and _number(own) is not None:
            frame.unpaired.append(own)
        return None

    def leave(self, frame: RunningCall) -> None:
        """Tell of each comparison that has no partner, and would have one with another number.

        The call has run, and so all that has a partner has found it.
        """
        left = [
            (number, theirs)
            for number, theirs in enumerate(self.choices.get(frame.call.key, ()))
            if (frame.call.key, number) not in self.paired and _number(theirs) is not None
        ]
        found: dict[tuple[float, float], tuple[int, Choice, Cause]] = {}
        shown: dict[tuple[float, float], bool] = {}
        for own in frame.unpaired if self.otherwise is not None else ():
            for number, recorded in left:
                partner = self._but_for_number(frame, number, recorded, own)
                if partner is None:
                    continue
                wrong = int((partner.result != own.result).sum())
                both = _number(own) or 0.0, _number(partner) or 0.0
                if both[0] != both[1] and (both not in found or (wrong and not shown[both])):
                    shown[both] = bool(wrong)
                    said = {"function": own.function, "count": wrong, "total": own.result.size}
                    cause = Cause("other_number", port=both[0], reference=both[1], **said)
                    found[both] = number, own, cause
                left.remove((number, recorded))
                break
        for number, own, cause in found.values():
            assert self.otherwise is not None
            self.otherwise(frame, number, own, cause)
        frame.unpaired.clear()

    def _but_for_number(
        self, frame: RunningCall, number: int, recorded: Choice, own: Choice
    ) -> Choice | None:
        """Return the reference's step if it compares the same values, with another number."""
        for theirs in _told_both_ways(recorded):
            side = next(i for i, array in enumerate(own.operands) if not array.ndim)
            if not theirs.is_like(own) or theirs.operands[side].ndim:
                continue
            operands = list(theirs.operands)
            operands[side] = own.operands[side]
            same = replace(theirs, operands=tuple(operands))
            if self._floor(frame, number, same, own) is not None:
                return theirs
        return None

    def _count(self, frame: RunningCall, number: int, theirs: Choice, own: Choice) -> None:
        """Tell of a top-k that takes another number of candidates."""
        numbers = {"port": own.result.shape[-1:], "reference": theirs.result.shape[-1:]}
        both = own.function == theirs.function == "topk"
        if both and numbers["port"] != numbers["reference"] and self.otherwise is not None:
            said = {"port": numbers["port"][0], "reference": numbers["reference"][0]}
            self.otherwise(frame, number, own, Cause("other_count", **said))

    def _floor(self, frame: RunningCall, number: int, theirs: Choice, own: Choice) -> float | None:
        """Return how far rounding moves the scores of both; None where they are not the same."""
        allowance = self.allow(frame.call.place(f"choice:{number}"))
        pairs = list(zip(theirs.operands, own.operands, strict=True))
        scale = max(_scale(*pair) for pair in pairs)
        floor = allowance.of(scale, max(array.size for array in theirs.operands))
        return floor if all(_farthest(*pair) <= floor for pair in pairs) else None


def _number(choice: Choice) -> float | None:
    """Return the one number that a comparison holds many values against; None where it does not."""
    if choice.kind != COMPARE:
        return None
    sides = [array for array in choice.operands if not array.ndim]
    return float(sides[0]) if len(sides) == 1 else None


def _told_both_ways(choice: Choice) -> tuple[Choice, ...]:
    """Return a choice, and the same comparison told the other way about."""
    both = choice.kind == COMPARE and choice.sense == "above"
    return (choice, choice.turned()) if both else (choice,)


def _apart(theirs: Choice, own: Choice, floor: float) -> Apart | None:
    """Return where two choices on the same scores part."""
    if own.kind == ORDER:
        scores = theirs.operands[0], own.operands[0]
        return orders_apart(own.function, scores, (theirs.result, own.result), floor)
    sides = (theirs.operands[0], theirs.operands[1]), (own.operands[0], own.operands[1])
    results = theirs.result, own.result
    return decisions_apart(own.function, sides, results, floor, own.sense == "equal")


def _as_many(theirs: Choice, own: Choice) -> np.ndarray:
    """Return the reference's choice, of as many candidates as the port chooses."""
    many = own.result.shape[-1] if own.kind == ORDER else 0
    if own.kind == COMPARE or theirs.result.shape[-1] >= many:
        return theirs.result[..., :many] if own.kind == ORDER else theirs.result
    first = theirs.result.reshape(-1, theirs.result.shape[-1])
    rows = [
        np.concatenate([chosen, rest[~np.isin(rest, chosen)]])
        for chosen, rest in zip(first, own.result.reshape(len(first), -1), strict=True)
    ]
    return np.array(rows, own.result.dtype)[:, :many].reshape(own.result.shape)


def _scale(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest finite magnitude; fills do not count that are the same on both sides."""
    finite, fills = np.isfinite(one), are_fills(one)
    counted = finite & ~fills if (one[fills] == other[fills]).all() else finite
    return float(np.abs(one).max(initial=0.0, where=counted))


def _farthest(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest distance; equal infinities are none, NaN is infinitely far."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(np.where(one == other, 0.0, one - other))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))
