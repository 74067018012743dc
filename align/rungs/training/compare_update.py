"""Weights and slots after an optimizer's step, compared, and why they differ."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from align.judge.compare import Allowance, compare
from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import Cause, joined
from align.pairing.tensors import Tensor
from align.rungs.training.clipping import Gradients
from align.rungs.training.clipping import cause_of as clipping_of
from align.rungs.training.step_start import StepStart

if TYPE_CHECKING:
    from align.rungs.training.port_side_paddle import PortSide
    from align.rungs.training.reference_side_torch import ReferenceSide


class UpdateComparison:
    """Both sides after their optimizers ran on the same gradients in `step`.

    `start` is what this step started from, `earlier` what the one before did; `used` are the
    gradients that the reference's and the port's optimizer came to use.
    """

    def __init__(
        self,
        reference: "ReferenceSide",
        port: "PortSide",
        step: int,
        start: StepStart,
        earlier: StepStart | None,
        used: tuple[Gradients, Gradients],
    ) -> None:
        self.reference, self.port = reference, port
        self.step, self.start, self.earlier = step, start, earlier
        self.theirs, self.ours = used
        self.after = reference.state()
        self.their_slots, self.our_slots = reference.slots(), port.slots()

    def compare(self, skipped: set[str]) -> list[Comparison]:
        """Compare weights and slots; not those of the keys `skipped`, whose rates differ."""
        found = []
        for tensor in self.reference.tensors:
            if tensor.buffer or tensor.key in skipped or tensor.key not in self.after:
                continue
            own = self._compare(tensor)
            found += own
            wrong = [comparison for comparison in own if comparison.verdict == DIFFERS]
            cause = self._cause(tensor) if wrong else None
            for comparison in wrong if cause else ():
                keeps = comparison.relative_error == float("inf")
                comparison.cause = joined([comparison.cause, cause]) if keeps else cause
        return found

    def _compare(self, tensor: Tensor) -> list[Comparison]:
        key = tensor.key
        into = Comparison(tensor.layer, "", f"weight:{tensor.name}", "update")
        compare(self.after[key], self.port.values(key), Allowance(), into)
        if self.port.plain:  # its slots stay its own: they show in later updates
            return [into]
        return [into, *_compare_slots(tensor, self.their_slots[key], self.our_slots[key])]

    def _cause(self, tensor: Tensor) -> Cause | None:
        """Say what the difference of an update is proportional to, if it is to anything known."""
        key = tensor.key
        difference = self.port.values(key) - self.after[key]
        rates = self.reference.rates()
        if key not in rates:
            return Cause("moved_by_port")
        if key not in self.port.rates():
            return Cause("moved_by_reference")
        rate = rates[key]
        decay = self.reference.weight_decay_of(tensor)
        group = self.reference.group_of(tensor)
        # Nesterov's step goes once along the gradient and once along the momentum it is added to.
        times = 1.0 + group["momentum"] if group.get("nesterov") else 1.0
        factor = _factor(difference, self.start.weights[key])
        if factor is not None and rate:
            own = _plain(decay - factor / (rate * times), decay)
            if f"{own:.3g}" != f"{decay:.3g}":
                return Cause("as_with_decay", port=own, reference=decay)
        cause = self._measured(tensor)
        if cause is not None:
            return cause
        factor = _factor(difference, self.start.slots.get(key, {}).get("momentum_buffer"))
        if factor is not None and rate:
            return Cause("as_with_momentum", off=-factor / rate)
        return None

    def _measured(self, tensor: Tensor) -> Cause | None:
        """Run the reference's update again with other settings until it gives the port's."""
        from align.rungs.training import update_causes_torch

        key = tensor.key
        if key not in self.start.gradients:
            return None
        update = update_causes_torch.Update(
            weight=self.start.weights[key],
            gradient=self.theirs.get(key, self.start.gradients[key]),
            rounded=self.port.float32_settings(),
            other=self._otherwise(key),
            slots=self.start.slots.get(key, {}),
            step=self.step,
            group=self.reference.group_of(tensor),
            own=self.port.settings(),
            after=self.port.values(key),
            slots_after=self.our_slots[key],
            earlier=None if self.earlier is None else self.earlier.gradients.get(key),
            expected=self.after[key],
        )
        kind = update_causes_torch.base_class(self.reference.optimizer)
        return update_causes_torch.cause_of(kind, update)

    def _otherwise(self, key: str) -> tuple[Cause, np.ndarray] | None:
        """Return another gradient that the port used, and what may have made it so."""
        ours, theirs = self.ours.get(key), self.theirs.get(key)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            return None
        if np.abs(ours - theirs).max(initial=0.0) <= 1e-9 * np.abs(theirs).max(initial=0.0):
            return None
        cause = clipping_of(
            self.start.gradients, self.theirs, self.ours, port_clips=bool(self.port.clips)
        )
        return None if cause is None else (cause, ours)


def _compare_slots(
    tensor: Tensor, expected: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]
) -> list[Comparison]:
    found = []
    for slot in set(ours) - set(expected):
        if not np.any(ours[slot]):
            continue  # kept for an option that is off
        into = Comparison(tensor.layer, "", f"slot:{tensor.name}.{slot}", "update")
        into.verdict, into.relative_error = DIFFERS, float("inf")
        into.cause = Cause("slot_of_port", slot=slot)
        found.append(into)
    for slot, array in expected.items():
        into = Comparison(tensor.layer, "", f"slot:{tensor.name}.{slot}", "update")
        if slot not in ours and not ours:
            into.verdict, into.relative_error = DIFFERS, float("inf")
            into.cause = Cause("slot_of_reference", slot=slot)
        elif slot not in ours:
            into.verdict = UNCHECKED
            into.cause = Cause("no_such_slot", slot=slot, slots=sorted(ours))
        else:
            compare(tensor.in_layout(array), ours[slot], Allowance(), into)
        found.append(into)
    return found


def _plain(value: float, beside: float) -> float:
    """Return a number; what is rounding beside another is 0."""
    return 0.0 if abs(value) < 1e-6 * abs(beside) else value


def _factor(difference: np.ndarray, of: np.ndarray | None) -> float | None:
    """Return c where `difference` is c * `of`, None where it is not."""
    if of is None or not of.any():
        return None
    factor = float((difference * of).sum() / (of * of).sum())
    rest = float(np.abs(difference - factor * of).max())
    return factor if rest <= 1e-3 * float(np.abs(difference).max()) else None
