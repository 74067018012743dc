"""Records one call after another while the reference runs."""

import math
from collections.abc import Callable, MutableSequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from align.arrays.arguments import Forward, arguments_in_order, bind
from align.arrays.arrays_torch import alias, is_tensor, to_array
from align.arrays.distances import magnitude, total_of_channel
from align.arrays.memory import WORTH, give_back
from align.arrays.trees import leaves, map_leaves
from align.judge.kernels import Kernel
from align.nets.casts.follow_torch import in_backward
from align.record.bounds_torch import TorchBounds
from align.record.casts_torch import note_cast
from align.record.choices.choices_torch import NotesChoices
from align.record.draws_torch import SeesDraws
from align.record.kept_tensors_torch import KeptTensors
from align.record.own_backward_torch import refuse_transforms
from align.record.stock_attention import SIGNATURES, Attention
from align.record.tensor_flow_torch import Awaited, Flow
from align.record.trace import (
    TENSOR,
    Call,
    Cotangent,
    Dropped,
    HandedOn,
    LossDifferentiates,
    NetDifferentiates,
    Slot,
    Trace,
)
from common.errors import UserError
from common.nets import members
from common.places import caller


class CallRecorder:
    """Fills `trace` with the calls of a run; what stands for their tensors is `kept`'s."""

    def __init__(
        self, trace: Trace, backward: bool, kept: "KeptTensors", is_whole: bool = False
    ) -> None:
        self.trace = trace
        self.backward = backward
        self.is_whole = is_whole  # the root is a net with its loss
        self.kept = kept
        self.counts: dict[str, int] = {}
        self.stack: list[Call] = []
        stack = self.stack  # the recorder may not hold itself: see `Recording`
        self.sees_draws = SeesDraws(
            trace.draws, lambda: tuple(call.key for call in stack), str, kept.drawn
        )
        self.chose = NotesChoices(trace, lambda: tuple(call.key for call in stack)).told
        self.bounds = TorchBounds(lambda: stack[-1].key if stack else None)
        self.alone: Callable[[Call], bool] | None = None
        self.together: Callable[[Call, list[Call]], bool] | None = None
        self.freed = 0  # bytes
        self.before: set[str] = set()  # kernels called since the last boundary of a module
        self.writes_into_inputs = False  # code of some module, but the root, does
        self.packed: set[str] = set()  # modules that take or give packed sequences
        self.flow = Flow()
        self.awaited = Awaited()

    def wrap(self, path: str, module: nn.Module, forward: Forward) -> Forward:
        """Return `forward` of the module at `path` with its calls recorded."""

        def recorded(*args: Any, **kwargs: Any) -> Any:
            refuse_transforms()
            self.sees_draws.check()
            before = len(self.trace.draws)
            call = Call(path, self.counts.get(path, 0))
            self.counts[path] = call.index + 1
            call.parent = self.stack[-1] if self.stack else None
            self.trace.calls.append(call)
            if module._forward_pre_hooks:  # they ran just now, as weight_norm's does
                call.kernels |= self.before
            self.before = set()
            self.awaited.begins(call)
            args, kwargs = self._boundary((args, kwargs), None)
            self._record_arguments(call, module, forward, args, kwargs)
            given = _versions((args, kwargs)) if path else []
            self.stack.append(call)
            try:
                outputs = forward(*args, **kwargs)
                self.sees_draws.check()
                call.random = len(self.trace.draws) > before
            finally:
                self.stack.pop()
                self.before = set()
            if any(tensor._version != version for tensor, version in given):
                self.writes_into_inputs = True
            if _holds_packed((args, kwargs, outputs)):
                self.packed.add(path)
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
            passed = HandedOn(first.shape, first.dtype, largest, total_of_channel(first))
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
                    arrays[index] = Dropped(array.shape, array.dtype, variance)
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
                self._not_in_the_loss()
                into[index] = self.kept.keep(gradient)[0]
                self.awaited.came(call)
                if after is not None:
                    with in_backward():
                        after()

            tensor.register_hook(keep)

    def has_parts(self) -> bool:
        """Tell whether the net's call that runs has called modules, which are judged alone."""
        own = self.stack[-1] if self.stack else None
        in_loss = self.is_whole and all(call.path != "net" for call in self.stack)
        return not in_loss and any(call.parent is own for call in self.trace.calls)

    def differentiates(self) -> UserError:
        """Return the error of code that differentiates what it called."""
        in_loss = self.is_whole and all(call.path != "net" for call in self.stack)
        return (LossDifferentiates if in_loss else NetDifferentiates)(caller())

    def _not_in_the_loss(self) -> None:
        """Refuse a loss that runs a backward pass of its own: layers are judged without one."""
        if self.is_whole and self.stack and all(call.path != "net" for call in self.stack):
            raise LossDifferentiates(caller())

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
            self.bounds.same(leaf, own)
            if call is not None:
                index = len(call.grad_outputs)
                self.flow.name(own, (call, "output", index))
                _note_constant(own, call, f"output:{index}")
                self._keep_gradient(own, call, call.grad_outputs)
            return own

        return map_leaves(tree, at_boundary)

    def cast(self, flows: bool, line: str, tensor: torch.Tensor) -> None:
        """Note a cast to float32 of the code that runs, if a gradient may flow through it."""
        if self.stack and (flows or not self.backward):
            self.stack[-1].casts = self.stack[-1].casts or line
        if self.stack and flows:
            note_cast(self.stack[-1].cast_of, line, tensor)

    def kernel_called(self, kernel: Kernel) -> None:
        """Note an inexact kernel of the code that runs."""
        if self.stack:
            words = f"{kernel.function}: {kernel.why}"
            self.stack[-1].kernels.add(words)
            self.before.add(words)


def _holds_packed(tree: Any) -> bool:
    """Tell whether a packed sequence is passed: its port has padded ones and their lengths."""
    if isinstance(tree, dict):
        return any(map(_holds_packed, tree.values()))
    if isinstance(tree, PackedSequence):
        return True
    return isinstance(tree, (tuple, list)) and any(map(_holds_packed, tree))


def _versions(tree: Any) -> list[tuple[torch.Tensor, int]]:
    """Return the tensors of a tree, and how often code wrote into each until now."""
    return [(leaf, leaf._version) for leaf in leaves(tree) if is_tensor(leaf)]


def _note_constant(tensor: torch.Tensor, call: Call, where: str) -> None:
    floating = tensor.is_floating_point() or tensor.is_complex()
    if floating and not tensor.requires_grad:
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


def attention_of(
    module: nn.Module, forward: Forward, args: tuple, kwargs: dict[str, Any]
) -> Attention | None:
    """Return what a stock attention layer is called with; None for all others."""
    kind = next((name for name in SIGNATURES if isinstance(module, getattr(nn, name))), None)
    bound = None if kind is None else bind(forward, args, kwargs)
    inner = [part for part in members.modules(module) if isinstance(part, nn.MultiheadAttention)]
    if kind is None or bound is None or not inner:
        return None
    names = [n for n, v in bound.arguments.items() for leaf in leaves(v) if is_tensor(leaf)]
    return Attention(kind, names, inner[0].num_heads, inner[0].batch_first)
