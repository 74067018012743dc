"""Moving averages of a net's weights, as trainings validate and save them: judged step by step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from align.judge.compare import Allowance, compare
from align.judge.comparison import DIFFERS, Comparison, not_compared
from align.judge.words import AVERAGE, Cause
from align.pairing.tensors import Tensor
from align.rungs.training.step_start import AverageFactory

if TYPE_CHECKING:
    from align.rungs.training.port_side_paddle import PortSide
    from align.rungs.training.reference_side_torch import ReferenceSide

Arrays = Mapping[str, np.ndarray]
WHERE = "average"
ROUNDINGS = 4  # of one update, each of half a unit; all updates of a run may add up
PRECISION = 1e-6  # to which what an update keeps is equal for all tensors
ROUNDING = 1e-13  # of a tensor: what moves less shows no average


@dataclass(frozen=True)
class Averages:
    """Both averages after one update, and what they were made of; all by the port's key.

    `held` is what both nets held at the update, `before` each side's average before it, `after`
    after it: (the reference's, the port's).
    """

    held: Arrays
    before: tuple[Arrays, Arrays]
    after: tuple[Arrays, Arrays]

    def compare(self, tensors: Sequence[Tensor], step: int) -> list[Comparison]:
        """Judge the averages of the tensors; one finding where all are off by one number."""
        theirs, ours = self.after
        known = [t for t in tensors if t.key in theirs or t.key in ours]
        if not known:
            return [not_compared(Cause("no_average"))]
        found = {tensor.key: self._one(tensor, step) for tensor in known}
        wrong = {key: one for key, one in found.items() if one.verdict == DIFFERS}
        both = [key for key in wrong if key in theirs and key in ours]
        kept = [self.kept(side, both) for side in (0, 1)]
        if kept[0] is None or kept[1] is None:
            return list(found.values())
        cause = Cause("average_keeps", port=kept[1], reference=kept[0])
        for key in both:
            found[key].cause = cause
        if set(self._moved(found)) - set(both):
            return list(found.values())
        worst = max((found[key] for key in both), key=lambda one: one.relative_error)
        alike = replace(worst, layer=AVERAGE, where=WHERE)
        return [alike, *(one for key, one in found.items() if key not in both)]

    def kept(self, side: int, keys: Sequence[str]) -> float | None:
        """Return what share of its average a side kept in the update, of the tensors `keys`.

        It is the same for all of them; None where it is not, or nothing tells.
        """
        before, after = self.before[side], self.after[side]
        known = [key for key in keys if key in before]
        if any(after[key].shape != self.held[key].shape for key in known):
            return None
        pairs = [(after[k] - self.held[k], before[k] - self.held[k]) for k in known]
        weight = sum(float((was * was).sum()) for _, was in pairs)
        if not weight or not np.isfinite(weight):
            return None
        share = sum(float((now * was).sum()) for now, was in pairs) / weight
        fits = (
            _largest(now - share * was) <= PRECISION * _largest(was) + self._rounding(key)
            for key, (now, was) in zip(known, pairs, strict=True)
        )
        return share if all(fits) else None

    def _moved(self, keys: Iterable[str]) -> list[str]:
        """Return those of the tensors that an average shows: they are not what it was anyway."""
        before = self.before[0]
        known = [key for key in keys if key in before]
        return [k for k in known if _largest(before[k] - self.held[k]) > self._rounding(k)]

    def _rounding(self, key: str) -> float:
        return ROUNDING * _largest(self.held[key])

    def _one(self, tensor: Tensor, step: int) -> Comparison:
        theirs, ours = (side.get(tensor.key) for side in self.after)
        into = Comparison(tensor.layer, "", f"{WHERE}:{tensor.name}", "update")
        if theirs is None or ours is None:
            into.verdict, into.relative_error = DIFFERS, float("inf")
            into.cause = Cause("average_of_port" if theirs is None else "average_of_reference")
            return into
        floats = [array for array in (theirs, ours) if array.dtype.kind == "f"]
        unit = max((float(np.finfo(a.dtype).eps) for a in floats), default=Allowance.unit)
        allowance = Allowance(unit=unit, summed=ROUNDINGS * (step + 1))
        return compare(theirs, ours, allowance, into)


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0))


class ForcedAverages:
    """Both averages from the start on: each update takes in what the reference's step came to.

    `makers` are the reference's and the port's. `share` is what the last update kept of the
    reference's, None where nothing tells, `updates` their number.
    """

    def __init__(
        self,
        reference: "ReferenceSide",
        port: "PortSide",
        makers: tuple[AverageFactory, AverageFactory],
    ) -> None:
        self.reference, self.port = reference, port
        self.theirs, self.ours = reference.average(makers[0]), port.average(makers[1])
        self.before = self._arrays()
        self.updates = 0
        self.share: float | None = None

    def judge(self, held: Arrays, step: int) -> list[Comparison]:
        """Update both, with the port's tensors at the reference's `held`, and compare them."""
        self.port.set_tensors(held)
        self.theirs.update()
        self.ours.update()
        made = Averages(held, self.before, self._arrays())
        self.before, self.updates = made.after, self.updates + 1
        self.share = made.kept(0, [*made.after[0]])
        return made.compare(self.reference.tensors, step)

    def _arrays(self) -> tuple[Arrays, Arrays]:
        return self.reference.averages(self.theirs), self.port.averages(self.ours)
