"""A forced run of the reference itself, disturbed, that notes how far each tensor moves."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.arguments import Forward, arguments_in_order
from align.arrays.arrays_torch import alias, is_tensor
from align.arrays.trees import leaves, map_leaves
from align.force.forced_run import ForcedRun
from align.force.frame import RunningCall
from align.judge.kernel_errors_torch import Errors
from align.nets.calls import wrapped_forwards
from align.nets.prepare_torch import out_of_place
from align.record.choices.choices_torch import GivesChoices
from align.record.draws import CallKey
from align.record.draws_torch import GivesDraws
from align.record.own_backward_torch import refuse_second_runs
from align.record.recording_torch import ReferenceRun
from align.record.trace import Call, CallPlace, Cotangent, Slot, Trace
from align.rounding.disturbed_framework_torch import DisturbedFramework
from align.rounding.movements_torch import NotedMovements
from align.rounding.noise_torch import Noise


@dataclass
class _Together:
    """What calls that ran together came to: gradients by parameter, the calls summed, paths."""

    gradients: dict[int, Any] = field(default_factory=dict)
    summed: dict[int, set[CallKey]] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)


class DisturbedRun:
    """A forced run of the reference itself, disturbed: `movements` has how far each tensor moves.

    `watched` are modules that run as they are; their tensors are noted too. Its discrete steps
    choose what they chose when they were recorded: of `given`, by call and number, or all of them.
    """

    def __init__(
        self,
        trace: Trace,
        judged: set[str],
        run: ReferenceRun,
        units: float,
        disturbed: str | None = None,
        seed: int = 0,
        entered: set[str] | None = None,
        watched: Collection[str] = (),
        given: Collection[tuple[CallKey, int]] | None = None,
    ) -> None:
        self.watched = watched
        self.given = given
        self.entered = entered  # only these modules' code is run; None: all of it
        self.trace = trace
        self.judged = judged
        self.run = run
        self.disturbed = disturbed
        self.noise = Noise(units, seed)
        self.movements = NotedMovements(trace, units)
        self.framework = DisturbedFramework(self.noise, run.backward)
        if run.label is not None:
            self.framework.know_targets(run.label)
        self.forced = ForcedRun(
            self.framework,
            self._next_call,
            self.movements.note,
            backward=run.backward,
            skips=self._skips,
            passed_by=lambda path, call: self._count_inside(call),
        )
        self.alone: set[str] = set()  # paths whose only call ran by itself
        self.together = _Together()
        self.calls = {(call.path, call.index): call for call in trace.calls}
        self.counts: dict[str, int] = {}
        self.children: dict[CallKey, list[Call]] = {}
        for call in trace.calls:
            if call.parent is not None:
                self.children.setdefault(call.parent.key, []).append(call)

    def run_net(self, net: nn.Module) -> None:
        """Run `net`: every call but those that ran alone."""
        modules = {path: net.get_submodule(path) for path in self.trace.paths}

        def wrap(path: str, module: nn.Module, forward: Forward) -> Forward:
            if path == self.disturbed:
                return lambda *args, **kwargs: map_leaves(forward(*args, **kwargs), self._disturb)
            if path in self.judged:
                return self.forced.wrap(path, module, forward)
            return self._watch(path, forward) if path in self.watched else forward

        mode = nullcontext() if self.run.backward else torch.no_grad()
        with (
            mode,
            out_of_place(net, self.trace.as_code),
            wrapped_forwards(modules, wrap),
            self._gives_draws(),
            self._gives_choices(),
        ):
            net(*self.run.args, **self.run.kwargs)
        self.movements.note_gradients(net, self.forced.gradients)
        del self.forced  # it holds this run, and gradients of every parameter
        ran = {path: module for path, module in modules.items() if self._runs(path)}
        self.movements.note_buffers(ran)

    def _gives_draws(self) -> AbstractContextManager:
        """Let code draw what it drew when it was recorded."""
        if not self.trace.draws:
            return nullcontext()
        return GivesDraws(self.trace.draws, self.judged, self._running, self.noise.generator)

    def _gives_choices(self) -> AbstractContextManager:
        """Let code choose what it chose when it was recorded: what comes after it moves little."""
        if not self.trace.choices:
            return nullcontext()
        noted = self.movements.note_choice
        return GivesChoices(self.trace.choices, self.judged, self._running, noted, self.given)

    def _running(self) -> CallKey | None:
        return self.forced.stack[-1].call.key if self.forced.stack else None

    def _watch(self, path: str, forward: Forward) -> Forward:
        """Return `forward` that notes what passes in and out."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            call = self._next_call(path)
            args, kwargs = map_leaves((args, kwargs), _own)
            given = arguments_in_order(forward, args, kwargs)
            self._note_passing(call, "input", call.inputs, call.grad_inputs, given)
            outputs = map_leaves(forward(*args, **kwargs), _own)
            self._note_passing(call, "output", call.outputs, call.grad_outputs, leaves(outputs))
            return outputs

        return watched

    def _note_passing(
        self,
        call: Call,
        where: str,
        arrays: Sequence[np.ndarray],
        gradients: Sequence[Cotangent],
        values: Sequence[Any],
    ) -> None:
        tensors = list(filter(is_tensor, values))
        for index, (tensor, array) in enumerate(zip(tensors, arrays, strict=True)):
            self.movements.note_distance(call.place(f"{where}:{index}"), tensor, array)
            if tensor.requires_grad and index < len(gradients):
                place = call.place(f"grad_{where}:{index}")
                tensor.register_hook(partial(self._note_gradient, place, gradients, index))

    def _note_gradient(
        self, place: CallPlace, expected: Sequence[Cotangent], index: int, gradient: torch.Tensor
    ) -> None:
        cotangent = expected[index]  # read now, where it is in a file
        if isinstance(cotangent, np.ndarray):
            self.movements.note_distance(place, gradient, cotangent)

    def _runs(self, path: str) -> bool:
        """Tell whether the code of a module runs in `run_net`."""
        return path not in self.alone and (self.entered is None or path in self.entered)

    def _is_left_out(self, call: Call) -> bool:
        """Tell whether nothing can move inside a call: its code need not run."""
        return self.entered is not None and call.path not in self.entered

    def run_alone(self, net: nn.Module, call: Call) -> None:
        """Run one call of a simple module by itself, with copies of its parameters and buffers."""
        module = net.get_submodule(call.path)
        self.alone.add(call.path)
        tensor = torch.from_numpy(call.inputs[0])
        modules = {call.path: module}
        with self._moved_tensors(modules):
            with torch.enable_grad():
                frame = RunningCall(call.path, call, module)
                self.forced.run_alone(frame, module.forward, (tensor,), {})
            self.movements.note_buffers(modules)
        self.movements.note_complete(net, module, self.forced.gradients)

    def _moved_tensors(self, modules: Mapping[str, nn.Module]) -> AbstractContextManager:
        return self.framework.moved_tensors(modules, self.trace.buffers_before)

    def run_together(self, net: nn.Module, call: Call, within: Sequence[Call]) -> bool:
        """Run one call and the code inside it by itself; `within` are the calls inside.

        With copies of the parameters and buffers of their modules. Returns False where that is
        not what was recorded; `keep_together` makes what was found part of the whole.
        """
        modules = {each.path: net.get_submodule(each.path) for each in (call, *within)}
        running = {
            each.path: modules[each.path]
            for each in (call, *within)
            if not (each.alone or self._is_left_out(each))
        }
        module = modules[call.path]
        inside = {path: each for path, each in modules.items() if path != call.path}
        forward = module.forward

        def given(leaf: Any) -> Any:
            return torch.from_numpy(call.inputs[leaf.index]) if isinstance(leaf, Slot) else leaf

        args, kwargs = map_leaves(call.arguments, given)
        first = {path: min(one.index for one in within if one.path == path) for path in inside}
        with self._apart(first), self._moved_tensors(modules):
            wrapped = wrapped_forwards(inside, self.forced.wrap)
            gives = self._gives_choices()
            with torch.set_grad_enabled(self.run.backward), wrapped, gives:
                self.forced.run_alone(RunningCall(call.path, call, module), forward, args, kwargs)
            self.movements.note_buffers(running)
            came = all(self.counts[path] > first[path] for path in inside)
            self.together = _Together(self.forced.gradients, self.forced.summed, set(running))
        return came and all(
            parameter is None or parameter.grad is None or id(parameter) in self.together.gradients
            for each in running.values()
            for parameter in each._parameters.values()
        )

    @contextmanager
    def _apart(self, first: Mapping[str, int]) -> Iterator[None]:
        """Let what runs count its calls from their first, and sum its gradients from nothing.

        A module that several others share was called before: its first call here is no call 0.
        """
        counts, self.counts = self.counts, dict(first)
        whole = self.forced.gradients, self.forced.summed
        self.forced.gradients, self.forced.summed = {}, {}
        try:
            yield
        finally:
            self.forced.gradients, self.forced.summed = whole
            self.counts = counts

    def keep_together(self, net: nn.Module, calls: Sequence[Call]) -> None:
        """Make what `run_together` found part of the whole; `calls` is all that ran."""
        self.alone |= self.together.running
        self.forced.add(self.together.gradients, self.together.summed)
        for call in calls:  # its cotangents are dropped
            for name, parameter in net.get_submodule(call.path)._parameters.items():
                if parameter is not None:
                    self.movements.lost_in_sums(f"{call.path}.{name}".lstrip("."), parameter)

    def _skips(self, call: Call) -> bool:
        left_out = self._is_left_out(call)
        if left_out:
            self._count_inside(call)
        return left_out

    def _count_inside(self, call: Call) -> None:
        """Count the calls inside one whose code does not run: others may share their modules."""
        for inner in self.children.get(call.key, ()):
            self.counts[inner.path] = max(self.counts.get(inner.path, 0), inner.index + 1)
            self._count_inside(inner)

    def _next_call(self, path: str) -> Call:
        index = self.counts.get(path, 0)
        self.counts[path] = index + 1
        if (path, index) not in self.calls:
            refuse_second_runs(path)
        return self.calls[path, index]

    def _disturb(self, leaf: Any) -> Any:
        floating = is_tensor(leaf) and leaf.is_floating_point()
        return Errors(self.noise.signs).off_by(leaf, 0.1) if floating else leaf


def _own(leaf: Any) -> Any:
    """Return an alias: a hook on it sees the gradient of one boundary."""
    if not is_tensor(leaf) or not leaf.requires_grad:
        return leaf
    return leaf.clone() if leaf.is_leaf else alias(leaf)
