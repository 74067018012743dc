"""Weights and slots after an optimizer's step, compared, and why they differ."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from align.judge.compare import Allowance, compare
from align.judge.comparison import DIFFERS, EQUAL, UNCHECKED, Comparison
from align.judge.words import Cause, joined
from align.pairing.tensors import Tensor
from align.rungs.training.clipping import Gradients
from align.rungs.training.clipping import cause_of as clipping_of
from align.rungs.training.step_start import StepStart
from align.rungs.training.updates.paddles import KNOWN, OTHERWISE

OTHERS = ("other_optimizer", "other_asgd")  # say why a slot is missing, too

if TYPE_CHECKING:
    from align.rungs.training.port_side_paddle import PortSide
    from align.rungs.training.reference_side_torch import ReferenceSide


class UpdateComparison:
    """Both sides after their optimizers ran on the same gradients in `step`.

    `start` is what this step started from, `earlier` what the one before did; `used` are the
    gradients that the reference's and the port's optimizer came to use. `known` has, by key, what
    share of its update a tensor is off by a known difference: infinite where that does not explain
    all of it.
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
        self.known: dict[str, float] = {}
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
            for comparison in wrong:
                if cause is None:
                    break
                keeps = comparison.relative_error == float("inf") and not cause.has(*OTHERS)
                comparison.cause = joined([comparison.cause, cause]) if keeps else cause
        return found

    def _compare(self, tensor: Tensor) -> list[Comparison]:
        key = tensor.key
        their_slots = {n: tensor.in_layout(a) for n, a in self.their_slots[key].items()}
        found = self._judge(tensor, self.after[key], their_slots)
        known = self._known(tensor) if any(c.verdict == DIFFERS for c in found) else None
        if known is None:
            return found
        weight, slots = known
        as_known = self._judge(tensor, weight, {**their_slots, **slots})
        if any(comparison.verdict != EQUAL for comparison in as_known):
            self.known[key] = math.inf
            return found
        moved = float(np.abs(weight - self.start.weights[key]).max())
        apart = float(np.abs(weight - self.after[key]).max())
        self.known[key] = apart / moved if moved else 0.0
        return as_known

    def _judge(
        self, tensor: Tensor, weight: np.ndarray, slots: Mapping[str, np.ndarray]
    ) -> list[Comparison]:
        """Compare the port's weight and slots with these."""
        into = Comparison(tensor.layer, "", f"weight:{tensor.name}", "update")
        compare(weight, self.port.values(tensor.key), Allowance(), into)
        if self.port.plain:  # its slots stay its own: they show in later updates
            return [into]
        unread = {"momentum_buffer"} if self._without_momentum(tensor) else set()
        ours = {n: a for n, a in self.our_slots[tensor.key].items() if n not in unread}
        return [into, *_compare_slots(tensor, slots, ours)]

    def _without_momentum(self, tensor: Tensor) -> bool:
        """Tell whether neither optimizer reads a momentum: RMSProp of Paddle keeps one then too."""
        settings = self.reference.group_of(tensor), self.port.settings()
        return all(own.get("momentum", 1.0) == 0.0 for own in settings)

    def _known(self, tensor: Tensor) -> tuple[np.ndarray, Mapping[str, np.ndarray]] | None:
        """Return (weight, slots) as Paddle's optimizer of the same name is known to make them."""
        key, kind = tensor.key, self.reference.optimizer_class.__name__
        if kind not in KNOWN or kind != self.port.kind or key not in self.start.gradients:
            return None
        gradient = self.theirs.get(key, self.start.gradients[key])
        slots, group = self.start.slots.get(key, {}), self.reference.group_of(tensor)
        return OTHERWISE[kind][1](self.start.weights[key], gradient, slots, self.step, group)

    def _cause(self, tensor: Tensor) -> Cause | None:
        """Say what the port's optimizer does otherwise, where a trial shows it."""
        key = tensor.key
        if key not in self.reference.rates():
            return Cause("moved_by_port")
        if key not in self.port.rates():
            return Cause("moved_by_reference")
        if key not in self.start.gradients:
            return None
        from align.rungs.training.updates import causes_torch

        update = causes_torch.Update(
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
            port=self.port.kind if self.port.stock and self.reference.stock else "",
            decay_l1=self.port.decay_l1(key),
        )
        return causes_torch.cause_of(self.reference.optimizer_class, update)

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
            compare(array, ours[slot], Allowance(), into)
        found.append(into)
    return found
