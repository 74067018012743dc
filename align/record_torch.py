"""Runs the reference once and records every call of every module."""

import math
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays_torch import alias, is_tensor, scalar_of, to_array
from align.attention import SIGNATURES, Attention
from align.calls import Forward, all_paths, bind, wrapped_forwards
from align.distances import magnitude, total_of_channel
from align.draws_torch import SeesDraws
from align.flow_torch import Awaited, Flow
from align.kept_torch import ALL, Kept
from align.kernel_errors_torch import WatchKernels
from align.kernels import Kernel
from align.memory import WORTH, give_back
from align.prepare_torch import out_of_place, state_kept
from align.trace import TENSOR, Call, Cotangent, Gone, Passed, Slot, Trace
from align.trees import leaves, map_leaves

COTANGENTS = 0xC07

# (the net, numbers of the tensors that something writes into) -> what keeps its tensors
Keeper = Callable[[nn.Module, set[int]], Kept]


@dataclass
class Run:
    """One run of the reference. `backward` starts from `cotangents` of its outputs."""

    args: tuple
    kwargs: dict[str, Any]
    backward: bool = False
    seed: int | None = 0

    def cotangents(self, outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return one cotangent of N(0, 1) for each output; ones where there is no seed."""
        if self.seed is None:
            return [torch.ones_like(out) for out in outputs]
        rng = np.random.default_rng([self.seed, COTANGENTS])  # never the stream of the inputs
        return [torch.from_numpy(rng.standard_normal(out.shape)).to(out.dtype) for out in outputs]


def module_paths(net: nn.Module) -> dict[str, list[str]]:
    """Return {first path: all paths} of the modules of `net`."""
    return all_paths(net, lambda module: module._modules)


def record(net: nn.Module, run: Run, keeper: Keeper = Kept) -> Trace:
    """Run `net` once and record every call of every module.

    The net's state and random state are as before afterwards; what the run left in the floating
    buffers, and the gradients, are in the trace. `keeper` says what stands for tensors there.
    """
    with recorded(net, run, keeper=keeper) as recording:
        if recording.backward():
            return recording.trace
    with recorded(net, run, copies=True, keeper=keeper) as recording:
        recording.backward()
    return recording.trace


@contextmanager
def recorded(
    net: nn.Module, run: Run, copies: bool = False, keeper: Keeper = Kept
) -> Iterator["Recording"]:
    """Yield the recording of a forward pass, whose `backward` is still to run.

    Arrays share the memory of the tensors that the run made, or are copies where code of the net
    writes into a tensor after it was recorded: what that is shows at the end of a run, and the
    net runs again. `copies` copies everything.
    """
    plain = _plain_outputs(net, run)
    written = {ALL} if copies else set()
    while True:
        mode = nullcontext() if run.backward else torch.no_grad()
        with state_kept(net), mode, out_of_place(net) as inplace:
            recording = Recording(net, run, keeper(net, written))
            found = recording.kept.written()
            if not found:
                root = next(call for call in recording.trace.calls if call.path == "")
                outputs = recording.kept.values(root.outputs)
                if plain is not None and not _same_values(plain, outputs):
                    recording.trace.inplace = inplace
                yield recording
                return
        written |= found


class Recording:
    """One run of the reference: its `trace`, and its graph until `backward` was called."""

    def __init__(self, net: nn.Module, run: Run, kept: Kept) -> None:
        self.net, self.run, self.kept = net, run, kept
        paths = module_paths(net)
        modules = {path: net.get_submodule(path) for path in paths}
        self.trace = Trace(
            paths=paths,
            parameters={name for name, _ in net.named_parameters(remove_duplicate=False)},
            buffers_before=floating_buffers(modules),
        )
        self.recorder = _Recorder(self.trace, run.backward, self.kept)
        watch = WatchKernels(self.recorder.kernel_called, escaped=self.kept.escaped)
        sees_draws = self.recorder.sees_draws
        sees_draws.function = lambda: watch.function
        args, kwargs = _as_leaves(run)
        try:
            with wrapped_forwards(modules, self.recorder.wrap), watch, sees_draws:
                outputs = net(*args, **kwargs)
        finally:
            sees_draws.function = str  # the recorder would hold itself, and every activation
        found = [leaf for leaf in leaves(outputs) if is_tensor(leaf) and leaf.requires_grad]
        self.ends = found if run.backward else []
        self.trace.buffers = floating_buffers(modules)

    def backward(
        self,
        alone: Callable[[Call], bool] | None = None,
        together: Callable[[Call, list[Call]], bool] | None = None,
    ) -> bool:
        """Run the backward pass, if there is one; return False if it wrote into what is recorded.

        `alone` is called with each call of a simple layer (see `_is_simple`) as soon as its
        gradients are known. Where it returns True that call is judged, and cotangents that went
        unchanged from one such layer to another are dropped. `together` is called with each other
        call, and the calls inside it, as soon as all their gradients are known. Where it returns
        True they are judged, and all tensors inside are dropped.
        """
        self.recorder.alone, self.recorder.together = alone, together
        if self.ends:
            self.recorder.awaited.starts(self.ends)
            scalar_of(self.ends, self.run.cotangents(self.ends)).backward()
        self.recorder.end()
        if self.run.backward:
            self.trace.gradients = _gradients(self.net)
        self.ends = []
        self.recorder.alone = None
        return not self.kept.written()


def _plain_outputs(net: nn.Module, run: Run) -> list[np.ndarray] | None:
    """Return the outputs as the net gives them; None where no module works in place."""
    if not any(getattr(module, "inplace", False) for module in net.modules()):
        return None
    with state_kept(net), torch.no_grad():
        args, kwargs = map_leaves(
            (run.args, run.kwargs), lambda leaf: leaf.clone() if is_tensor(leaf) else leaf
        )
        outputs = net(*args, **kwargs)
        return [to_array(leaf).copy() for leaf in leaves(outputs) if is_tensor(leaf)]


def _same_values(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Tell whether two runs gave the same but for rounding (other strides, other kernels)."""
    return len(one) == len(other) and all(
        left.shape == right.shape and _is_close(left, right)
        for left, right in zip(one, other, strict=True)
    )


def _is_close(left: np.ndarray, right: np.ndarray) -> bool:
    if left.dtype.kind != "f" or not left.size:
        return np.array_equal(left, right)
    largest = float(np.abs(left).max(initial=0.0, where=np.isfinite(left)))
    few = float(np.finfo(left.dtype).eps) ** 0.5 * largest
    return np.allclose(left, right, rtol=0.0, atol=few, equal_nan=True)


def _as_leaves(run: Run) -> tuple[tuple, dict[str, Any]]:
    """Return copies of the arguments, floating ones as leaves of the graph in a backward run."""

    def leaf(value: Any) -> Any:
        if not is_tensor(value):
            return value
        own = value.detach().clone()
        return own.requires_grad_() if run.backward and own.is_floating_point() else own

    args, kwargs = map_leaves((run.args, run.kwargs), leaf)
    return args, kwargs


def _gradients(net: nn.Module) -> dict[str, np.ndarray | None]:
    return {
        name: None if parameter.grad is None else to_array(parameter.grad)
        for name, parameter in net.named_parameters(remove_duplicate=False)
    }


def floating_buffers(modules: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """Return copies of the floating buffers as {"path.name": array}."""
    return {
        f"{path}.{name}".lstrip("."): to_array(buffer).copy()
        for path, module in modules.items()
        for name, buffer in module._buffers.items()
        if buffer is not None and buffer.is_floating_point()
    }


class _Recorder:
    def __init__(self, trace: Trace, backward: bool, kept: "Kept") -> None:
        self.trace = trace
        self.backward = backward
        self.kept = kept
        self.counts: dict[str, int] = {}
        self.stack: list[Call] = []
        stack = self.stack  # the recorder may not hold itself: see `Recording`
        self.sees_draws = SeesDraws(
            trace.draws, lambda: tuple(call.key for call in stack), str, kept.drawn
        )
        self.alone: Callable[[Call], bool] | None = None
        self.together: Callable[[Call, list[Call]], bool] | None = None
        self.freed = 0  # bytes
        self.flow = Flow()
        self.awaited = Awaited()

    def wrap(self, path: str, module: nn.Module, forward: Forward) -> Forward:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            self.sees_draws.check()
            before = len(self.trace.draws)
            call = Call(path, self.counts.get(path, 0))
            self.counts[path] = call.index + 1
            call.parent = self.stack[-1] if self.stack else None
            self.trace.calls.append(call)
            self.awaited.begins(call)
            args, kwargs = self._boundary((args, kwargs), None)
            self._record_arguments(call, module, forward, args, kwargs)
            self.stack.append(call)
            try:
                outputs = forward(*args, **kwargs)
                self.sees_draws.check()
                call.random = len(self.trace.draws) > before
            finally:
                self.stack.pop()
            call.outputs = self._keep(call, "output", leaves(outputs))
            call.simple = _is_simple(module, call) and is_tensor(outputs)
            call.template = map_leaves(outputs, lambda leaf: TENSOR if is_tensor(leaf) else leaf)
            return self._boundary(outputs, call)

        return recorded

    def _record_arguments(
        self, call: Call, module: nn.Module, forward: Forward, args: tuple, kwargs: dict[str, Any]
    ) -> None:
        arguments = arguments_in_order(forward, args, kwargs)
        tensors = [leaf for leaf in arguments if is_tensor(leaf)]
        call.inputs = self._keep(call, "input", tensors)
        order = {id(tensor): index for index, tensor in enumerate(tensors)}
        call.arguments = map_leaves(
            (args, kwargs), lambda leaf: Slot(order[id(leaf)]) if is_tensor(leaf) else leaf
        )
        call.numbers = [leaf for leaf in arguments if isinstance(leaf, (bool, int, float))]
        call.attention = attention_of(module, forward, args, kwargs)
        if self.backward:
            for index, tensor in enumerate(tensors):
                self.flow.name(tensor, (call, "input", index))
                _note_constant(tensor, call, f"input:{index}")
                self._keep_gradient(tensor, call, call.grad_inputs, partial(self._known, call))

    def _keep(self, call: Call, where: str, values: list[Any]) -> list[np.ndarray]:
        arrays: list[np.ndarray] = []
        for tensor in filter(is_tensor, values):
            array, written = self.kept.keep(tensor)
            if written:
                call.written.add(f"{where}:{len(arrays)}")
            arrays.append(array)
        return arrays

    def _known(self, call: Call) -> None:
        """Offer a call to be judged now, if all its gradients are known."""
        if call.simple:
            self._alone(call)
        else:
            self._together(call)

    def end(self) -> None:
        """Offer the calls to which no gradient came, and so no time; let go of the judge."""
        for call in self.trace.calls:
            if not (call.simple or call.gone or call.alone):
                self._together(call)
        self.alone = self.together = None

    def _together(self, call: Call) -> None:
        """Offer a call, with those inside, to be judged now, if all their gradients are known."""
        if self.together is None or not call.path or call.constant:
            return
        within = self.awaited.within(call)
        if self._may_run_again(call, within) and self.together(call, within):
            call.alone = True
            self.freed += sum(self._drop(inner) for inner in within)
            if self.freed > WORTH:
                self.freed = 0
                give_back()
            for index in range(len(call.outputs)):
                self._drop_passed(call, index)

    def _alone(self, call: Call) -> None:
        """Offer a simple call whose gradients are all known to be judged now."""
        if self.alone is None or self.counts[call.path] != 1:
            return
        if call.grad_outputs[0] is not None and self.alone(call):
            call.alone = True
            self._drop_passed(call, 0)

    def _may_run_again(self, call: Call, within: list[Call]) -> bool:
        """Tell whether all of a call is known, and other calls are not to be told from it."""
        calls = (call, *within)
        if call.random or not self.awaited.all_came(calls):
            return False
        return all(self.counts[each.path] == 1 and each.attention is None for each in calls)

    def _drop_passed(self, call: Call, index: int) -> None:
        """Drop the cotangent of an output that goes unchanged to where it is judged too."""
        slots = self.flow.after(call, index)
        arrays = [slot[at] for slot, at in slots]
        first = call.grad_outputs[index]
        if not slots or not isinstance(first, np.ndarray):
            return
        largest = magnitude(first)
        if math.isfinite(largest) and all(_is_same(array, first) for array in arrays):
            passed = Passed(first.shape, first.dtype, largest, total_of_channel(first))
            for array in (first, *arrays):
                self.kept.release(array)
            for slot, at in ((call.grad_outputs, index), *slots):
                slot[at] = passed

    def _drop(self, call: Call) -> int:
        """Drop the tensors of a call whose code will not run again; return how many bytes."""
        freed = 0
        variance = self._variance(call)
        call.gone = True
        held: list[MutableSequence[Any]] = [
            call.inputs,
            call.outputs,
            call.grad_inputs,
            call.grad_outputs,
        ]
        for arrays in held:
            for index, array in enumerate(arrays):
                if isinstance(array, np.ndarray):
                    freed += array.nbytes
                    self.kept.release(array)
                    arrays[index] = Gone(array.shape, array.dtype, variance)
        return freed

    def _variance(self, call: Call) -> np.ndarray | None:
        """Return the variance of each channel of what went into a running variance."""
        name = f"{call.path}.running_var"
        before, after = self.trace.buffers_before.get(name), self.trace.buffers.get(name)
        if before is None or after is None or np.array_equal(before, after):
            return None
        values = torch.from_numpy(call.inputs[0]).double()
        axes = [axis for axis in range(values.dim()) if axis != 1]
        return to_array(values.var(axes, correction=0))

    def _keep_gradient(
        self,
        tensor: torch.Tensor,
        call: Call,
        into: MutableSequence[Cotangent],
        after: Callable[[], None] | None = None,
    ) -> None:
        """Append a place to `into` that the gradient of `tensor` will fill, if one flows.

        Then `after` is called.
        """
        index = len(into)
        into.append(None)
        if tensor.requires_grad:
            self.awaited.wait(call, tensor)

            def keep(gradient: torch.Tensor) -> None:
                into[index] = self.kept.keep(gradient)[0]
                self.awaited.came(call)
                if after is not None:
                    after()

            tensor.register_hook(keep)

    def _boundary(self, tree: Any, call: Call | None) -> Any:
        """Return `tree` with an alias of its own for every tensor, hooked for its gradient.

        Without aliases a hook would see the gradient of several boundaries summed. `call` is the
        one whose outputs they are.
        """
        if not self.backward:
            return tree

        def at_boundary(leaf: Any) -> Any:
            if not is_tensor(leaf):
                return leaf
            own = leaf
            if leaf.requires_grad:
                own = leaf.clone() if leaf.is_leaf else alias(leaf)
            self.flow.hand_on(leaf, own)
            if call is not None:
                index = len(call.grad_outputs)
                self.flow.name(own, (call, "output", index))
                _note_constant(own, call, f"output:{index}")
                self._keep_gradient(own, call, call.grad_outputs)
            return own

        return map_leaves(tree, at_boundary)

    def kernel_called(self, kernel: Kernel) -> None:
        if self.stack:
            self.stack[-1].kernels.add(f"{kernel.function}: {kernel.why}")


def _note_constant(tensor: torch.Tensor, call: Call, where: str) -> None:
    if tensor.is_floating_point() and not tensor.requires_grad:
        call.constant.add(where)


def _is_same(one: Cotangent, other: np.ndarray) -> bool:
    """Tell whether both are the same memory: nothing was added to the gradient on its way."""
    return (
        isinstance(one, np.ndarray)
        and one.__array_interface__["data"] == other.__array_interface__["data"]
        and one.shape == other.shape
        and one.strides == other.strides
    )


def _is_simple(module: nn.Module, call: Call) -> bool:
    """Tell whether a call may run again by itself: a layer of torch with one input, no children.

    What people write may keep things between calls, or look at other modules.
    """
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    return (
        type(module).__module__.startswith("torch.nn.modules.")
        and not module._modules
        and not any(hooks)
        and getattr(module, "momentum", 0.0) is not None  # then a counter of calls is a weight
        and len(call.inputs) == len(call.outputs) == 1
        and not (call.random or call.kernels)
    )


def arguments_in_order(forward: Forward, args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    """Return the leaves of the arguments in the order of the signature."""
    bound = bind(forward, args, kwargs)
    return leaves((args, kwargs) if bound is None else list(bound.arguments.values()))


def attention_of(
    module: nn.Module, forward: Forward, args: tuple, kwargs: dict[str, Any]
) -> Attention | None:
    """Return what a stock attention layer is called with; None for all others."""
    kind = next((name for name in SIGNATURES if isinstance(module, getattr(nn, name))), None)
    bound = None if kind is None else bind(forward, args, kwargs)
    inner = [part for part in module.modules() if isinstance(part, nn.MultiheadAttention)]
    if kind is None or bound is None or not inner:
        return None
    names = [n for n, v in bound.arguments.items() for leaf in leaves(v) if is_tensor(leaf)]
    return Attention(kind, names, inner[0].num_heads, inner[0].batch_first)
