"""Learning rates of both sides, parameter by parameter: a schedule's fault told from a group's."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.where import Where
from align.judge.words import OPTIMIZER, Cause, Words, joined
from align.pairing.tensors import Tensor

if TYPE_CHECKING:
    from align.rungs.training.port_side_paddle import PortSide
    from align.rungs.training.reference_side_torch import ReferenceSide
    from align.rungs.training.step_start import ScheduleFunction


class Schedules:
    """What sets the rate of each step on either side: a function given, or a scheduler held.

    `both`: both sides hold one, and these are stepped. `notes` say what is stepped.
    """

    def __init__(
        self,
        reference: "ReferenceSide",
        port: "PortSide",
        theirs: "ScheduleFunction | None",
        ours: "ScheduleFunction | None",
    ) -> None:
        self.reference, self.port, self.theirs, self.ours = reference, port, theirs, ours
        names = {"port": port.scheduler.name, "reference": reference.schedulers.name}
        self.names = names
        self.both = theirs is None and ours is None and all(names.values())
        self.notes: list[Words] = []
        if self.both:
            self.notes.append(Words("schedulers_stepped", **names))
        elif theirs is not None and ours is not None and any(names.values()):
            held = {side: name or "none" for side, name in names.items()}
            self.notes.append(Words("schedulers_overruled", **held))
        elif self.unknown is not None:
            self.notes.append(Words("no_schedule_compared", cause=self.unknown))

    @property
    def unknown(self) -> Cause | None:
        """Why rates cannot be compared after the first step; None where they can."""
        if self.theirs is not None:
            return None
        if self.reference.schedulers.out_of_reach:
            return Cause("schedule_out_of_reach")
        if self.ours is None and self.names["port"] and not self.names["reference"]:
            return Cause("schedule_of_port", scheduler=self.names["port"])
        return None

    @property
    def forgotten(self) -> Cause | None:
        """Why the port's rate stays where the reference's changes, if it does."""
        if self.ours is None and self.names["reference"] and not self.names["port"]:
            return Cause("schedule_of_reference", scheduler=self.names["reference"])
        return None

    def set(self, step: int, losses: Sequence[float]) -> None:
        """Set the rates of `step`; `losses` are those of the steps before it, and more."""
        if self.theirs is not None:
            self.reference.set_rate(self.theirs(step))
        elif step:
            self.reference.schedulers.step(losses[step - 1])
        if self.ours is not None:
            self.port.set_rate(self.ours(step))
        elif step:
            self.port.scheduler.step(losses[step - 1])


def compare_rates(
    reference: "ReferenceSide",
    port: "PortSide",
    schedules: Schedules,
    step: int,
) -> tuple[list[Comparison], set[str]]:
    """Compare every parameter's rate at `step`; return what was compared, and keys that differ.

    Then the port's rate is the reference's: the update is judged alone. Where it cannot be set,
    all keys differ.
    """
    unknown = schedules.unknown if step else None
    theirs, ours = reference.rates(), port.rates()
    tensors = [t for t in reference.tensors if t.key in theirs and t.key in ours]
    pairs = {t.key: (t, theirs[t.key], ours[t.key]) for t in tensors}
    common = common_ratio([(t, o) for _, t, o in pairs.values()])
    if not common or common == float("inf"):  # one side stands still
        key, (_, expected, own) = next(iter(pairs.items()))
        port.set_rate(expected / port.multiplier(key))
        found = [_unless(unknown, compare_rate(OPTIMIZER, expected, own))]
        return found, set() if port.can_set_rate else set(pairs)
    whole = compare_rate(OPTIMIZER, *(typical_pair(pairs, common)))
    found, wrong = [_unless(unknown, whole)], set()
    for key, (tensor, expected, own) in pairs.items():
        if not close(expected * common, own):
            wrong.add(key)
            rate = compare_rate(tensor.layer, expected, own)
            if rate.cause and close(port.multiplier(key), expected):  # as torch takes it
                factor = expected / (own / port.multiplier(key))
                rate.cause = rate.cause.also(Cause("rate_of_group", factor=factor))
            found.append(rate)
    if not close(common, 1.0):
        port.set_rate(port.rate / common)
        wrong |= set() if port.can_set_rate else set(pairs)
    return found, wrong


def _unless(unknown: Cause | None, rate: Comparison) -> Comparison:
    """Return the comparison, as one that could not be made where its schedule is `unknown`."""
    if unknown is None:
        return rate
    return Comparison(rate.layer, "", "lr", "update", verdict=UNCHECKED, cause=unknown)


def compare_rate(layer: str, expected: float, own: float) -> Comparison:
    """Compare the rate of one layer's parameter, or of the whole optimizer, to 1e-12."""
    into = Comparison(layer, "", "lr", "update", reference_value=expected, port_value=own)
    into.relative_error = abs(own - expected) / (abs(expected) or 1.0)
    into.floor = RATE_PRECISION
    if not close(expected, own):
        into.verdict = DIFFERS
        into.cause = Cause("rate", port=own, reference=expected)
    return into


def tell_schedules(calls: Sequence[Comparison], schedules: Schedules, steps: int) -> None:
    """Say of rates that are all off alike what the port's schedule is of the reference's.

    `calls` are those of all steps. Two functions are asked for their rates at `steps` steps, so
    that more than those that were run tell a shift from something else.
    """
    of_optimizer = [call for call in calls if call.layer == OPTIMIZER]
    alike = [call for call in of_optimizer if Where.of(call.where).kind == "lr"]
    known = [call for call in alike if call.verdict != UNCHECKED]
    wrong = [call for call in known if call.verdict == DIFFERS]
    if not wrong:
        return
    theirs, ours = schedules.theirs, schedules.ours
    if theirs is not None and ours is not None:
        rates = [[schedule(step) for step in range(steps)] for schedule in (theirs, ours)]
    else:
        rates = [
            [call.reference_value or 0.0 for call in known],
            [call.port_value or 0.0 for call in known],
        ]
    said = None if schedules.forgotten else in_terms_of(*rates)
    for call in wrong:
        call.cause = joined([_of_schedule(call, said), schedules.forgotten])


def _of_schedule(rate: Comparison, said: Cause | None) -> Cause | None:
    """Return the cause of a rate: what its schedule is, else by what factor it is off."""
    if said is not None or not rate.reference_value or not rate.port_value:
        return joined([rate.cause, said])
    return Cause("rate_times", rate=rate.cause, factor=rate.port_value / rate.reference_value)


def in_terms_of(theirs: Sequence[float], ours: Sequence[float]) -> Cause | None:
    """Say what a schedule is of the reference's, where that fits the rates of all steps.

    At least `TELLING` steps have to tell it from no change. None where nothing fits.
    """
    count = len(theirs)
    if count > TELLING and len({*ours}) == 1 and not _same(theirs, [ours[0]] * count):
        return Cause("rate_stays", count=count)
    tried = [(Cause(kind), by) for kind, by in (("rate_ahead", 1), ("rate_behind", -1))]
    for cause, by in tried:
        held = slice(max(-by, 0), count - max(by, 0))
        moved = slice(max(by, 0), count - max(-by, 0))
        if _fits(theirs[moved], ours[held], theirs[held]):
            return cause
    every = next(
        (step for step in range(1, count) if not _same(ours[:1], ours[step : step + 1])), 1
    )
    slower = [theirs[step // every] for step in range(count)]
    return Cause("rate_every", steps=every) if _fits(slower, ours, theirs) else None


def _fits(changed: Sequence[float], ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Tell whether rates are `ours` after a change, and enough of them other ones before it."""
    telling = sum(not close(own, other, 1e-9) for own, other in zip(ours, theirs, strict=True))
    return telling >= TELLING and _same(changed, ours)


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(close(first, second, 1e-9) for first, second in zip(one, other, strict=True))


def compare_schedules(
    theirs: Callable[[int], float], ours: Callable[[int], float], first: int, end: int
) -> Comparison:
    """Compare the rates of steps `first` to `end` - 1, which are not run: the first that differs.

    Schedulers that multiply their last rate drift apart from those that compute it anew, so what is
    allowed is a part of the largest rate, not of each.
    """
    into = Comparison(OPTIMIZER, "", "lr", "update", floor=REST_PRECISION, step=end - 1)
    rates = [[schedule(step) for step in range(end)] for schedule in (theirs, ours)]
    largest = max(abs(rates[0][0]), abs(rates[1][0]))
    for step in range(first, end):
        expected, own = rates[0][step], rates[1][step]
        largest = max(largest, abs(expected))
        off = abs(own - expected) / (largest or 1.0)
        if off > into.relative_error:
            into.relative_error = off
            into.reference_value, into.port_value = expected, own
        if off > REST_PRECISION:
            into.step, into.verdict = step, DIFFERS
            into.cause = Cause("rate", port=own, reference=expected)
            into.cause = _of_schedule(into, in_terms_of(*rates))
            break
    return into


TELLING = 2  # steps that tell a shifted schedule from another one, at least
RATE_PRECISION = 1e-12  # schedules are compared to this (DESIGN's table)
REST_PRECISION = 1e-9  # of steps that are not run: of the largest rate


def close(expected: float, own: float, precision: float = RATE_PRECISION) -> bool:
    """Tell whether two rates are equal to `precision`, relative."""
    return abs(own - expected) <= precision * abs(expected)


def common_ratio(pairs: list[tuple[float, float]]) -> float:
    """Return the ratio port / reference of most rates: by what the schedule is off."""
    ratios = [own / expected for expected, own in pairs if expected]
    if not ratios and any(own for _, own in pairs):
        return float("inf")  # the reference stands still
    return float(np.median(ratios)) if ratios else 1.0


def typical_pair(
    pairs: dict[str, tuple[Tensor, float, float]], common: float
) -> tuple[float, float]:
    """Return (reference, port) of a rate that is off by the common ratio alone."""
    for _, expected, own in pairs.values():
        if expected and close(expected * common, own):
            return expected, own
    return 0.0, 0.0
