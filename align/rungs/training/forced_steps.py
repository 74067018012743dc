"""Forced training steps: each starts on both sides from the reference's state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from align.arrays.batch import NetBatch
from align.causes.explain import explain
from align.force.call_order import PortOrder
from align.judge.compare import Allowance, compare
from align.judge.comparison import DIFFERS, EQUAL, UNCHECKED, Comparison
from align.judge.words import Cause, Words, joined
from align.pairing.sides import Sides
from align.pairing.tensors import Tensor
from align.record.trace import Trace
from align.report.report import Report
from align.rungs.training.rates import close, common_ratio, compare_rate, in_terms_of, typical_pair
from align.trial.findings import Findings
from align.trial.trial import run_forced

if TYPE_CHECKING:
    from align.pairing.reference_torch import LiveReference

OptimizerFactory = Callable[[list[Any]], Any]


ScheduleFunction = Callable[[int], float]


OPTIMIZER = "(optimizer)"


@dataclass
class _Before:
    """What a step starts from, in the port's layout, by the port's key."""

    weights: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    slots: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


class _Steps:
    """Both nets, `prepared`, with their optimizers, step after step."""

    def __init__(
        self,
        sides: "Sides[LiveReference]",
        optimizers: tuple[OptimizerFactory, OptimizerFactory],
        schedules: tuple[ScheduleFunction | None, ScheduleFunction | None],
        report: Report,
    ) -> None:
        from align.rungs.training import optimizers_torch

        torch_whole, paddle_whole = sides.reference.net, sides.port
        self.sides, self.torch_whole, self.paddle_whole = sides, torch_whole, paddle_whole
        self.schedules, self.report = schedules, report
        self.tensors = [t for t in sides.tensors if t.reference is not None]
        self.theirs = dict(torch_whole.named_parameters(remove_duplicate=False))
        self.ours = dict(paddle_whole.state_dict())
        self.paddle_factory = optimizers[1]
        self.torch_optimizer = optimizers[0](list(torch_whole.parameters()))
        self.paddle_optimizer = self._new_paddle_optimizer()
        self.rates = optimizers_torch.Rates(self.torch_optimizer)
        self.found: Findings | None = None
        self.before: _Before | None = None
        self.losses: list[float] = []
        self.draws: list[tuple[Trace, PortOrder]] = []
        self.explained: set[str] = set()
        self.initial = self._reference_state()

    def _new_paddle_optimizer(self) -> Any:
        return self.paddle_factory(
            [p for p in self.paddle_whole.parameters() if not p.stop_gradient]
        )

    def run(self, step: int, batch: NetBatch) -> None:
        """Judge one step and leave the reference, and so the next step's start, after it."""
        import torch

        from align.causes.replayed_torch import replayed_by

        torch.manual_seed(step)  # another dropout mask at each step
        earlier, self.before = self.before, _Before(self._reference_state())
        self._force_state(self.before)
        self.found = run_forced(
            self.sides,
            batch.whole,
            train=True,
            backward=True,
            seed=None,
        )
        comparisons = list(self.found.comparisons)
        self.report.notes += [note for note in self.found.notes if note not in self.report.notes]
        replayed = replayed_by(self.torch_whole, batch.whole)
        explain(comparisons, self.sides, self.found, replayed, self.explained)
        self._adopt(self.found)
        self.before.gradients = self._reference_gradients(self.found)
        wrong_rates = self._compare_rates(step, comparisons)
        self._update_both()
        comparisons += self._compare_update(wrong_rates, earlier)
        for comparison in comparisons:
            comparison.step = step
        self.report.calls += comparisons
        self._log(step, comparisons)

    def free_run(self, batches: Sequence[NetBatch]) -> list[float]:
        """Train the port alone from the start; return the relative error of each loss.

        It draws what the reference drew.
        """
        from align.arrays import arrays_paddle
        from align.arrays.trees import map_leaves
        from align.force.pass_paddle import run_with_draws
        from align.rungs.training import optimizers_paddle

        self._set_tensors(self.initial)
        optimizer = self._new_paddle_optimizer()
        errors = []
        for step, (batch, expected) in enumerate(zip(batches, self.losses, strict=True)):
            args = map_leaves(batch.whole.args, arrays_paddle.to_tensor)
            try:
                trace, order = self.draws[step]
                loss = run_with_draws(self.sides, trace, order, args)
            except Exception as error:  # which a step has found, and said where
                words = " ".join(str(error).split())[:200]
                self.report.notes.append(Words("free_run_fails", step=step, words=words))
                break
            if self.schedules[1] is not None:
                optimizers_paddle.set_rate(optimizer, self.schedules[1](step))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            errors.append(abs(float(loss) - expected) / (abs(expected) or 1.0))
        return errors

    def _reference_state(self) -> dict[str, np.ndarray]:
        """Return the reference's tensors by the port's key, in the port's layout, as copies."""
        from align.arrays.arrays_torch import to_array

        state = self.torch_whole.state_dict()
        known = [tensor for tensor in self.tensors if tensor.reference in state]
        arrays = {str(t.reference): to_array(state[str(t.reference)]) for t in known}
        return {tensor.key: np.array(tensor.of(arrays)) for tensor in known}

    def _force_state(self, before: _Before) -> None:
        """Give the port the reference's weights, buffers and slots."""
        from align.rungs.training import optimizers_paddle, optimizers_torch

        self._set_tensors(before.weights)
        slots = optimizers_torch.slots(self.torch_optimizer)
        for tensor in self.tensors:
            parameter = self.theirs.get(tensor.reference or "")
            own = {} if parameter is None else slots.get(id(parameter), {})
            before.slots[tensor.key] = {
                name: np.array(tensor.in_layout(array)) for name, array in own.items()
            }
        optimizers_paddle.set_slots(
            self.paddle_optimizer,
            {self.ours[key].name: own for key, own in before.slots.items()},
        )

    def _set_tensors(self, arrays: dict[str, np.ndarray]) -> None:
        from align.arrays.arrays_paddle import to_tensor

        for key, array in arrays.items():
            self.ours[key].set_value(to_tensor(np.asarray(array, order="C")))

    def _adopt(self, found: Findings) -> None:
        """Give the reference the buffers and gradients that its recorded run left."""
        import torch

        from align.force.pass_paddle import draws_only

        buffers = dict(self.torch_whole.named_buffers(remove_duplicate=False))
        with torch.no_grad():
            for name, array in found.trace.buffers.items():
                buffers[name].copy_(torch.from_numpy(array))
        for name, parameter in self.theirs.items():
            gradient = found.trace.gradients.get(name)
            parameter.grad = None if gradient is None else torch.from_numpy(gradient.copy())
        root = next(call for call in found.trace.calls if call.path == "")
        self.losses.append(float(root.outputs[0]))
        self.draws.append((draws_only(found.trace), found.port_order))

    def _reference_gradients(self, found: Findings) -> dict[str, np.ndarray]:
        known = {t.key: t for t in self.tensors if t.reference in found.trace.gradients}
        arrays = {key: t.of(found.trace.gradients) for key, t in known.items()}
        return {key: np.asarray(a, order="C") for key, a in arrays.items() if a is not None}

    def _compare_rates(self, step: int, into: list[Comparison]) -> set[str]:
        """Set both schedules' rates and compare every parameter's; return the keys that differ.

        Then the port's rate is the reference's: the update is judged alone.
        """
        from align.rungs.training import optimizers_paddle, optimizers_torch

        if self.schedules[0] is not None:
            self.rates.set(self.schedules[0](step))
        if self.schedules[1] is not None:
            optimizers_paddle.set_rate(self.paddle_optimizer, self.schedules[1](step))
        theirs = optimizers_torch.learning_rates(self.torch_optimizer)
        rate = optimizers_paddle.rate(self.paddle_optimizer)
        held = optimizers_paddle.held(self.paddle_optimizer)
        pairs: dict[str, tuple[Tensor, float, float]] = {}
        for tensor in self.tensors:
            reference, parameter = self.theirs.get(tensor.reference or ""), self.ours[tensor.key]
            if id(reference) in theirs and id(parameter) in held:
                own = rate * optimizers_paddle.multiplier(parameter)
                pairs[tensor.key] = (tensor, theirs[id(reference)], own)
        common = common_ratio([(t, o) for _, t, o in pairs.values()])
        if not common or common == float("inf"):  # one side stands still
            key, (_, expected, own) = next(iter(pairs.items()))
            into.append(compare_rate(OPTIMIZER, expected, own))
            factor = optimizers_paddle.multiplier(self.ours[key])
            optimizers_paddle.set_rate(self.paddle_optimizer, expected / factor)
            return set()
        whole = compare_rate(OPTIMIZER, *(typical_pair(pairs, common)))
        if whole.verdict == DIFFERS:
            whole.cause = in_terms_of(whole.cause, self.schedules[0], step, common)
        into.append(whole)
        wrong = set()
        for key, (tensor, expected, own) in pairs.items():
            if not close(expected * common, own):
                wrong.add(key)
                into.append(compare_rate(tensor.layer, expected, own))
        if not close(common, 1.0):
            optimizers_paddle.set_rate(self.paddle_optimizer, rate / common)
        return wrong

    def _update_both(self) -> None:
        """Run both optimizers on the reference's gradients."""
        from align.rungs.training import optimizers_paddle, optimizers_torch

        assert self.before is not None
        rounded = optimizers_paddle.float32_settings(self.paddle_optimizer)
        with optimizers_torch.rounded_constants(self.torch_optimizer, rounded):
            self.torch_optimizer.step()
        self.torch_optimizer.zero_grad(set_to_none=True)
        gradients = self.before.gradients.items()
        once = {id(self.ours[key]): (self.ours[key], array) for key, array in gradients}
        optimizers_paddle.add_gradients(
            [
                (parameter, array)
                for parameter, array in once.values()
                if not parameter.stop_gradient
            ]
        )
        self.paddle_optimizer.step()
        self.paddle_optimizer.clear_grad()

    def _compare_update(self, skipped: set[str], earlier: _Before | None) -> list[Comparison]:
        """Compare weights and slots after the update."""
        from align.rungs.training import optimizers_paddle, optimizers_torch

        after = self._reference_state()
        theirs = optimizers_torch.slots(self.torch_optimizer)
        ours = optimizers_paddle.slots(self.paddle_optimizer)
        found = []
        for tensor in self.tensors:
            if tensor.buffer or tensor.key in skipped or tensor.key not in after:
                continue
            parameter = self.ours[tensor.key]
            into = Comparison(tensor.layer, "", f"weight:{tensor.name}", "update")
            compare(after[tensor.key], optimizers_paddle.values(parameter), Allowance(), into)
            found.append(into)
            reference = self.theirs.get(tensor.reference or "")
            expected = {} if reference is None else theirs.get(id(reference), {})
            own = [into, *_compare_slots(tensor, expected, ours.get(parameter.name, {}))]
            found += own[1:]
            wrong = [comparison for comparison in own if comparison.verdict == DIFFERS]
            cause = self._cause(tensor, after[tensor.key], earlier) if wrong else None
            for comparison in wrong if cause else ():
                keeps = comparison.relative_error == float("inf")
                comparison.cause = joined([comparison.cause, cause]) if keeps else cause
        return found

    def _cause(self, tensor: Tensor, after: np.ndarray, earlier: _Before | None) -> Cause | None:
        """Say what the difference of an update is proportional to, if it is to anything known."""
        from align.rungs.training import optimizers_paddle, optimizers_torch

        assert self.before is not None
        key = tensor.key
        difference = optimizers_paddle.values(self.ours[key]) - after
        reference = self.theirs[tensor.reference or ""]
        rates = optimizers_torch.learning_rates(self.torch_optimizer)
        if id(reference) not in rates:
            return Cause("moved_by_port")
        if id(self.ours[key]) not in optimizers_paddle.held(self.paddle_optimizer):
            return Cause("moved_by_reference")
        rate = rates[id(reference)]
        decay = optimizers_torch.weight_decays(self.torch_optimizer).get(id(reference), 0.0)
        group = optimizers_torch.group_of(self.torch_optimizer, reference)
        # Nesterov's step goes once along the gradient and once along the momentum it is added to.
        times = 1.0 + group["momentum"] if group.get("nesterov") else 1.0
        factor = _factor(difference, self.before.weights[key])
        if factor is not None and rate:
            own = _plain(decay - factor / (rate * times), decay)
            if f"{own:.3g}" != f"{decay:.3g}":
                return Cause("as_with_decay", port=own, reference=decay)
        cause = self._measured(tensor, after, earlier)
        if cause is not None:
            return cause
        factor = _factor(difference, self.before.slots.get(key, {}).get("momentum_buffer"))
        if factor is not None and rate:
            return Cause("as_with_momentum", off=-factor / rate)
        return None

    def _measured(self, tensor: Tensor, after: np.ndarray, earlier: _Before | None) -> Cause | None:
        """Run the reference's update again with other settings until it gives the port's."""
        from align.arrays import arrays_paddle
        from align.rungs.training import optimizers_paddle, optimizers_torch, update_causes_torch

        assert self.before is not None
        key = tensor.key
        if key not in self.before.gradients:
            return None
        reference, parameter = self.theirs[tensor.reference or ""], self.ours[key]
        slots = optimizers_paddle.slots(self.paddle_optimizer).get(parameter.name, {})
        update = update_causes_torch.Update(
            weight=self.before.weights[key],
            gradient=self.before.gradients[key],
            slots=self.before.slots.get(key, {}),
            step=len(self.losses) - 1,
            group=optimizers_torch.group_of(self.torch_optimizer, reference),
            own=optimizers_paddle.settings(self.paddle_optimizer),
            after=optimizers_paddle.values(parameter),
            slots_after={name: arrays_paddle.to_array(slot) for name, slot in slots.items()},
            earlier=None if earlier is None else earlier.gradients.get(key),
            expected=after,
        )
        return update_causes_torch.cause_of(
            update_causes_torch.base_class(self.torch_optimizer), update
        )

    def _log(self, step: int, comparisons: list[Comparison]) -> None:
        judged = [c for c in comparisons if c.verdict in (EQUAL, DIFFERS)]
        assert self.before is not None
        norm = sum(float((g.astype(np.float64) ** 2).sum()) for g in self.before.gradients.values())
        self.report.settings.setdefault("steps", []).append(
            {
                "step": step,
                "loss": self.losses[-1],
                "lr": self.torch_optimizer.param_groups[0]["lr"],
                "gradient_norm": norm**0.5,
                "worst": max((c.relative_error for c in judged), default=None),
                "differ": sum(c.verdict == DIFFERS for c in comparisons),
            }
        )


def _compare_slots(tensor: Tensor, expected: Any, ours: Any) -> list[Comparison]:
    from align.arrays.arrays_paddle import to_array

    found = []
    for slot in set(ours) - set(expected):
        if not np.any(to_array(ours[slot])):
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
            compare(tensor.in_layout(array), to_array(ours[slot]), Allowance(), into)
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
