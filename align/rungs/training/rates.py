"""Learning rates of both sides, parameter by parameter: a schedule's fault told from a group's."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from align.judge.comparison import DIFFERS, Comparison
from align.judge.words import Cause
from align.pairing.tensors import Tensor

if TYPE_CHECKING:
    from align.rungs.training.port_side_paddle import PortSide
    from align.rungs.training.reference_side_torch import ReferenceSide

OPTIMIZER = "(optimizer)"


def compare_rates(
    reference: "ReferenceSide",
    port: "PortSide",
    schedule: Callable[[int], float] | None,
    step: int,
) -> tuple[list[Comparison], set[str]]:
    """Compare every parameter's rate at `step`; return what was compared, and keys that differ.

    `schedule` is the reference's. Then the port's rate is the reference's: the update is judged
    alone.
    """
    theirs, ours = reference.rates(), port.rates()
    tensors = [t for t in reference.tensors if t.key in theirs and t.key in ours]
    pairs = {t.key: (t, theirs[t.key], ours[t.key]) for t in tensors}
    common = common_ratio([(t, o) for _, t, o in pairs.values()])
    if not common or common == float("inf"):  # one side stands still
        key, (_, expected, own) = next(iter(pairs.items()))
        port.set_rate(expected / port.multiplier(key))
        return [compare_rate(OPTIMIZER, expected, own)], set()
    whole = compare_rate(OPTIMIZER, *(typical_pair(pairs, common)))
    if whole.verdict == DIFFERS:
        whole.cause = in_terms_of(whole.cause, schedule, step, common)
    found, wrong = [whole], set()
    for key, (tensor, expected, own) in pairs.items():
        if not close(expected * common, own):
            wrong.add(key)
            found.append(compare_rate(tensor.layer, expected, own))
    if not close(common, 1.0):
        port.set_rate(port.rate / common)
    return found, wrong


def compare_rate(layer: str, expected: float, own: float) -> Comparison:
    """Compare the rate of one layer's parameter, or of the whole optimizer, to 1e-12."""
    into = Comparison(layer, "", "lr", "update", reference_value=expected, port_value=own)
    into.relative_error = abs(own - expected) / (abs(expected) or 1.0)
    into.floor = RATE_PRECISION
    if not close(expected, own):
        into.verdict = DIFFERS
        into.cause = Cause("rate", port=own, reference=expected)
    return into


def in_terms_of(
    rate: Cause | None, schedule: Callable[[int], float] | None, step: int, ratio: float
) -> Cause:
    """Say what the port's `rate` at `step`, `ratio` times the reference's, is of its schedule."""
    if schedule is not None:
        own = schedule(step) * ratio
        for by, kind in ((1, "rate_ahead"), (-1, "rate_behind")):
            if step + by >= 0 and close(schedule(step + by), own, 1e-9):
                return Cause(kind, rate=rate)
    return Cause("rate_times", rate=rate, factor=ratio)


RATE_PRECISION = 1e-12  # schedules are compared to this (DESIGN's table)


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
