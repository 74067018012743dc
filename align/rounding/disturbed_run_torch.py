"""A forced run of the reference itself, disturbed, that notes how far each tensor moves."""
# ruff: noqa: D102 - what its methods return stands in `align.force.framework.Framework`

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.arguments import Forward, arguments_in_order
from align.arrays.arrays_torch import alias, is_tensor, scalar_of, to_array
from align.arrays.distances import distance, magnitude, total_of_channel
from align.arrays.trees import leaves, map_leaves
from align.force.forced_run import ForcedRun
from align.force.frame import RunningCall, Seen
from align.force.framework import Cotangents
from align.judge.compare import LONG_SUMS, UNITS
from align.judge.kernel_errors_torch import Errors
from align.nets.calls import wrapped_forwards
from align.nets.layers_torch import floating_buffers
from align.nets.prepare_torch import out_of_place
from align.record.draws import CallKey
from align.record.draws_torch import GivesDraws
from align.record.recording_torch import ReferenceRun
from align.record.trace import Call, CallPlace, Cotangent, Dropped, HandedOn, Slot, Trace
from align.rounding.allowances import TINY

Movements = dict[CallPlace, float]  # largest movement of each tensor

COMPLETE = 1e-9  # farther from a parameter's gradient, other calls may add to it
POOL = 1_048_573  # a prime: no two rows or channels of a tensor move alike
FEW_OF_CHANNEL = 8  # values: so few random signs may all be the same
FEW = 1 << 12  # values that are not worth a pool


class DisturbedRun:
    """A forced run of the reference itself, disturbed, that notes how far each tensor moves.

    `watched` are modules that run as they are; their tensors are noted too.
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
    ) -> None:
        self.watched = watched
        self.entered = entered  # only these modules' code is run; None: all of it
        self.trace = trace
        self.judged = judged
        self.run = run
        self.units = units
        self.disturbed = disturbed
        self.generator = torch.Generator().manual_seed(seed)
        self.pools: dict[tuple, torch.Tensor] = {}
        self.alone: set[str] = set()  # paths whose only call ran by itself
        self.names: dict[int, list[str]] = {}
        self.largest: dict[str, float] = {}  # of a module: its gradients that are dropped
        self.lost: dict[str, float] = {}  # of a path: see `lost_in_sums`
        self.originals: dict[int, int] = {}  # identities of moved copies and what they stand for
        self.forced = ForcedRun(
            self,
            self._next_call,
            self._note,
            backward=run.backward,
            skips=self._is_left_out,
        )
        self.moves: Movements = {}
        self.trial: tuple[dict[int, Any], dict[int, set[CallKey]], set[str]] = ({}, {}, set())
        self.calls = {(call.path, call.index): call for call in trace.calls}
        self.counts: dict[str, int] = {}

    def signs(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return random +1 and -1 in the shape of `tensor`."""
        if tensor.numel() <= FEW:
            return self._draws(tensor.numel(), tensor.dtype, 0.0, 1.0).reshape(tensor.shape)
        out = torch.empty(tensor.shape, dtype=tensor.dtype)
        for part, drawn in self._drawn(out.numel(), self.pool(tensor.dtype, 0.0, 1.0)):
            out.view(-1)[part] = drawn
        return out

    def jitter(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return `tensor` with every element moved by `units` in the last place."""
        if not tensor.is_floating_point() or not self.units:
            return tensor
        step = torch.finfo(tensor.dtype).eps * self.units
        tensor = tensor.detach().contiguous()
        if tensor.dim() > 1 and 1 < tensor.numel() // max(tensor.shape[1], 1) <= FEW_OF_CHANNEL:
            return tensor * (1.0 + 2 * step * self._opposed(tensor))
        out = torch.empty_like(tensor)
        flat, pool = tensor.view(-1), self.pool(tensor.dtype, 1.0, step)
        for part, drawn in self._drawn(len(flat), pool):
            torch.mul(flat[part], drawn, out=out.view(-1)[part])
        return out

    def _opposed(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return signs like `tensor` [N, C, ...] that alternate within each channel.

        Batch statistics of two values stay as they are where both move alike, as every second
        draw of independent signs has it; what a normalisation subtracts would not be seen to move.
        They move by two units, as those of several such tensors may still cancel.
        """
        first, channels = tensor.shape[:2]
        inner = tensor[0, 0].numel()
        signs = self._draws(channels, tensor.dtype, 0.0, 1.0)
        turns = 1 - 2 * (torch.arange(first * inner) % 2).to(tensor.dtype)
        return (turns.view(first, 1, inner) * signs.view(1, channels, 1)).view(tensor.shape)

    def pool(self, dtype: torch.dtype, centre: float, step: float) -> torch.Tensor:
        """Return `POOL` draws of `centre` + or - `step`."""
        key = (dtype, centre, step)
        if key not in self.pools:
            self.pools[key] = self._draws(POOL, dtype, centre, step)
        return self.pools[key]

    def _draws(self, count: int, dtype: torch.dtype, centre: float, step: float) -> torch.Tensor:
        words = torch.randint(
            0, 256, (-(-count // 8),), generator=self.generator, dtype=torch.uint8
        )
        bits = torch.from_numpy(np.unpackbits(words.numpy(), count=count))
        return bits.to(dtype).mul_(2 * step).add_(centre - step)

    def _drawn(self, size: int, pool: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield pieces of `size` values with as many draws each, from any place of the pool on."""
        at = int(torch.randint(0, POOL, (), generator=self.generator))
        start = 0
        while start < size:
            count = min(size - start, POOL - at)
            yield slice(start, start + count), pool[at : at + count]
            start, at = start + count, 0

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
        with mode, out_of_place(net), wrapped_forwards(modules, wrap), self._gives_draws():
            net(*self.run.args, **self.run.kwargs)
        self._note_gradients(net, self.forced.gradients)
        del self.forced  # it holds this run, and gradients of every parameter
        ran = {path: module for path, module in modules.items() if self._runs(path)}
        self._note_buffers(ran)

    def _gives_draws(self) -> AbstractContextManager:
        """Let code draw what it drew when it was recorded."""
        if not self.trace.draws:
            return nullcontext()

        def running() -> CallKey | None:
            return self.forced.stack[-1].call.key if self.forced.stack else None

        return GivesDraws(self.trace.draws, self.judged, running, self.generator)

    def _watch(self, path: str, forward: Forward) -> Forward:
        """Return `forward` that notes what passes in and out."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            call = self._next_call(path)
            args, kwargs = map_leaves((args, kwargs), self._own)
            given = arguments_in_order(forward, args, kwargs)
            self._note_passing(call, "input", call.inputs, call.grad_inputs, given)
            outputs = map_leaves(forward(*args, **kwargs), self._own)
            self._note_passing(call, "output", call.outputs, call.grad_outputs, leaves(outputs))
            return outputs

        return watched

    def _own(self, leaf: Any) -> Any:
        """Return an alias: a hook on it sees the gradient of one boundary."""
        if not is_tensor(leaf) or not leaf.requires_grad:
            return leaf
        return leaf.clone() if leaf.is_leaf else alias(leaf)

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
            self._note_distance(call.place(f"{where}:{index}"), tensor, array)
            if tensor.requires_grad and index < len(gradients):
                place = call.place(f"grad_{where}:{index}")
                tensor.register_hook(partial(self._note_gradient, place, gradients, index))

    def _note_gradient(
        self, place: CallPlace, expected: Sequence[Cotangent], index: int, gradient: torch.Tensor
    ) -> None:
        cotangent = expected[index]  # read now, where it is in a file
        if isinstance(cotangent, np.ndarray):
            self._note_distance(place, gradient, cotangent)

    def _runs(self, path: str) -> bool:
        """Tell whether the code of a module runs in `run_net`."""
        return path not in self.alone and (self.entered is None or path in self.entered)

    def _is_left_out(self, call: Call) -> bool:
        """Tell whether nothing can move inside a call: its code need not run."""
        return self.entered is not None and call.path not in self.entered

    def _note_buffers(self, modules: Mapping[str, nn.Module]) -> None:
        for name, array in floating_buffers(modules).items():
            move = float(np.abs(array - self.trace.buffers[name]).max(initial=0.0))
            self.moves["", 0, f"buffer:{name}"] = move

    def run_alone(self, module: nn.Module, call: Call) -> None:
        """Run one call of a simple module by itself, with copies of its parameters and buffers."""
        own = module._parameters, module._buffers
        self.alone.add(call.path)
        tensor = torch.from_numpy(call.inputs[0])
        try:
            module._parameters = self._moved(own[0])
            module._buffers = self._moved({**own[1], **self._buffers_before(call.path, own[1])})
            with torch.enable_grad():
                frame = RunningCall(call.path, call, module)
                self.forced.run_alone(frame, module.forward, (tensor,), {})
            self._note_buffers({call.path: module})
        finally:
            module._parameters, module._buffers = own
            self.originals.clear()

    def _buffers_before(self, path: str, buffers: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the floating buffers of a module as they were before the recorded run."""
        names = {name: f"{path}.{name}".lstrip(".") for name in buffers}
        before = self.trace.buffers_before
        return {
            name: torch.from_numpy(before[full]) for name, full in names.items() if full in before
        }

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
        own = [(path, each, each._parameters, each._buffers) for path, each in modules.items()]
        counts, self.counts = self.counts, {}
        whole = self.forced.gradients, self.forced.summed
        self.forced.gradients, self.forced.summed = {}, {}
        copies: dict[int, Any] = {}
        module = modules.pop(call.path)
        forward = module.forward

        def given(leaf: Any) -> Any:
            return torch.from_numpy(call.inputs[leaf.index]) if isinstance(leaf, Slot) else leaf

        args, kwargs = map_leaves(call.arguments, given)
        try:
            for path, each, parameters, buffers in own:
                before = self._buffers_before(path, buffers)
                each._parameters = self._moved(parameters, copies)
                each._buffers = self._moved({**buffers, **before})
            wrapped = wrapped_forwards(modules, self.forced.wrap)
            with torch.set_grad_enabled(self.run.backward), wrapped:
                self.forced.run_alone(RunningCall(call.path, call, module), forward, args, kwargs)
            self._note_buffers(running)
            came = set(self.counts) == set(modules)
            self.trial = self.forced.gradients, self.forced.summed, set(running)
        finally:
            for _, each, parameters, buffers in own:
                each._parameters, each._buffers = parameters, buffers
            self.forced.gradients, self.forced.summed = whole
            self.counts = counts
            self.originals.clear()
        return came and all(
            parameter is None or parameter.grad is None or id(parameter) in self.trial[0]
            for each in running.values()
            for parameter in each._parameters.values()
        )

    def keep_together(self, net: nn.Module, calls: Sequence[Call]) -> None:
        """Make what `run_together` found part of the whole; `calls` is all that ran."""
        gradients, summed, running = self.trial
        self.alone |= running
        self.forced.add(gradients, summed)
        for call in calls:  # its cotangents are dropped
            for name, parameter in net.get_submodule(call.path)._parameters.items():
                if parameter is not None:
                    self.lost_in_sums(f"{call.path}.{name}".lstrip("."), parameter)

    def note_complete(self, net: nn.Module, module: nn.Module) -> None:
        """Note the gradients of parameters that nothing but one call of `module` has: drop them."""
        for parameter in module._parameters.values():
            gradient = self.forced.gradients.get(id(parameter))
            if parameter is None or parameter.grad is None or gradient is None:
                continue
            found = distance(to_array(parameter.grad), to_array(gradient))
            if found.worst <= COMPLETE * found.largest:
                del self.forced.gradients[id(parameter)]
                for name in self._names(net)[id(parameter)]:
                    self.moves["", 0, f"grad:{name}"] = found.worst + self.lost_in_sums(
                        name, parameter
                    )

    def _names(self, net: nn.Module) -> dict[int, list[str]]:
        """Return every name of each parameter, by its identity."""
        if not self.names:
            for name, parameter in net.named_parameters(remove_duplicate=False):
                self.names.setdefault(id(parameter), []).append(name)
        return self.names

    def _moved(
        self, tensors: Mapping[str, Any], copies: dict[int, Any] | None = None
    ) -> dict[str, Any]:
        """Return moved copies of parameters or buffers; `copies` are those already made."""
        moved: dict[str, Any] = {}
        copies = {} if copies is None else copies
        for name, tensor in tensors.items():
            if tensor is None or id(tensor) in copies:
                moved[name] = None if tensor is None else copies[id(tensor)]
                continue
            copy = self.jitter(tensor.detach())
            copy = copy.clone() if copy.data_ptr() == tensor.data_ptr() else copy
            if isinstance(tensor, nn.Parameter):
                copy = nn.Parameter(copy, requires_grad=tensor.requires_grad)
            self.originals[id(copy)] = id(tensor)
            moved[name] = copies[id(tensor)] = copy
        return moved

    def _next_call(self, path: str) -> Call:
        index = self.counts.get(path, 0)
        self.counts[path] = index + 1
        return self.calls[path, index]

    def _disturb(self, leaf: Any) -> Any:
        floating = is_tensor(leaf) and leaf.is_floating_point()
        return Errors(self.signs).off_by(leaf, 0.1) if floating else leaf

    def _note(self, seen: Seen) -> None:
        if isinstance(seen.expected, HandedOn):
            step = float(np.finfo(seen.expected.dtype).eps) * self.units
            self.moves[seen.place] = step * seen.expected.largest
        elif seen.expected is not None and seen.found is not None and is_tensor(seen.found):
            self._note_distance(seen.place, seen.found, seen.expected)

    def _note_distance(
        self, place: CallPlace, found: torch.Tensor, expected: np.ndarray | None
    ) -> None:
        if expected is None or not found.numel():
            return
        array = to_array(found)
        if found.is_floating_point():
            move = distance(expected, array).worst
            if not math.isfinite(move):
                apart = torch.from_numpy(array) - torch.from_numpy(expected)
                move = float(apart.abs().nan_to_num(0.0).max())
        else:
            move = float((array != expected).sum())
        self.moves[place] = move

    def _note_gradients(self, net: nn.Module, gradients: Mapping[int, torch.Tensor]) -> None:
        for name, parameter in net.named_parameters(remove_duplicate=False):
            gradient = gradients.get(id(parameter))
            if gradient is not None:
                place = ("", 0, f"grad:{name}")
                self._note_distance(place, gradient, self.trace.gradients.get(name))
                if place in self.moves:
                    self.moves[place] += self.lost_in_sums(name, parameter)
        if self.units:
            self._note_tiny()

    def _note_tiny(self) -> None:
        """Let the gradient of a few values move as far as a unit of its module's largest.

        It may be a sum that cancels (a bias in front of a softmax), and of a few values none may
        happen to move.
        """
        held = {name: g for name, g in self.trace.gradients.items() if g is not None and g.size}
        largest = self.largest
        for name, gradient in held.items():
            module = name.rpartition(".")[0]
            largest[module] = max(magnitude(gradient), largest.get(module, 0.0))
        for name, gradient in held.items():
            step = float(np.finfo(gradient.dtype).eps) * self.units
            move = step * largest[name.rpartition(".")[0]]
            if gradient.size <= TINY and math.isfinite(move):
                place = ("", 0, f"grad:{name}")
                self.moves[place] = max(move, self.moves.get(place, 0.0))

    def lost_in_sums(self, name: str, parameter: torch.Tensor) -> float:
        """Return what the gradient of a bias loses as a sum over pixels, whatever it comes to.

        That of a bias in front of BatchNorm is 0: its own size says nothing about its rounding,
        that of the cotangents which it sums does.
        """
        if parameter.dim() != 1:
            return 0.0
        path = name.rpartition(".")[0]  # once for good: its cotangents may be dropped after
        if path not in self.lost:
            sizes = [
                call.values_per_channel * _total(cotangent)
                for call in self.trace.calls
                if call.path == path
                for cotangent in call.grad_outputs
                if cotangent is not None and not isinstance(cotangent, Dropped)
            ]
            unit = float(np.finfo(np.float64).eps) * self.units
            self.lost[path] = LONG_SUMS / UNITS * unit * max(sizes, default=0.0)
        return self.lost[path]

    # What `ForcedRun` asks of a framework.

    def is_tensor(self, value: Any) -> bool:
        return is_tensor(value)

    def leaf(
        self, array: np.ndarray, like: torch.Tensor | None, constant: bool = False
    ) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        tensor = tensor if like is None else tensor.to(like.dtype)
        floating = tensor.is_floating_point() and not constant
        return tensor.requires_grad_() if self.run.backward and floating else tensor

    def whole_number(self, tensor: torch.Tensor) -> int | None:
        """Return None: the reference's own tensors and numbers are what they are."""

    def takes_gradient(self, tensor: torch.Tensor) -> bool:
        return tensor.requires_grad

    def values(self, gradient: torch.Tensor) -> np.ndarray:
        return to_array(gradient)

    def handed(self, leaf: torch.Tensor, written: bool) -> torch.Tensor:
        if self.units and leaf.requires_grad:
            handed: torch.Tensor = _Jitter.apply(leaf, self)
            return handed
        if self.units and leaf.is_floating_point():
            return self.jitter(leaf)
        return leaf.clone() if written else leaf

    def version(self, tensor: torch.Tensor) -> int:
        return tensor._version

    def alias(self, tensor: torch.Tensor) -> torch.Tensor:
        return alias(tensor) if tensor.requires_grad else tensor

    def cotangent(self, array: np.ndarray, leaf: torch.Tensor) -> torch.Tensor | None:
        return self.jitter(torch.from_numpy(array).to(leaf.dtype)) if leaf.requires_grad else None

    def vjp(self, sources: Sequence[Cotangents], wrt: Sequence[torch.Tensor]) -> list[Any | None]:
        outputs = [(tensor, array) for tensor, array in sources if tensor.requires_grad]
        wanted = [tensor for tensor in wrt if tensor.requires_grad]
        if not outputs or not wanted:
            return [None] * len(wrt)
        seeds = [self.jitter(torch.from_numpy(a).to(tensor.dtype)) for tensor, a in outputs]
        tensors = [tensor for tensor, _ in outputs]
        start = scalar_of(tensors, seeds)
        found = iter(torch.autograd.grad(start, wanted, allow_unused=True))
        return [next(found) if tensor.requires_grad else None for tensor in wrt]

    def parameters(self, module: nn.Module) -> Mapping[int, Any]:
        return {self.originals.get(id(p), id(p)): p for p in module.parameters()}


class _Jitter(torch.autograd.Function):
    """The identity: values move by one unit, gradients pass."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, disturbed: DisturbedRun) -> torch.Tensor:
        return disturbed.jitter(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return gradient, None


def _total(cotangent: np.ndarray | HandedOn) -> float:
    return cotangent.total if isinstance(cotangent, HandedOn) else total_of_channel(cotangent)
