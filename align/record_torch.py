"""Runs the reference once and records every call of every module."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from align.arrays_torch import alias, is_tensor, to_array
from align.calls import Forward, all_paths, bind, wrapped_forwards
from align.kernel_errors_torch import WatchKernels
from align.kernels import Kernel
from align.prepare_torch import out_of_place, state_kept
from align.trace import TENSOR, Call, Trace
from align.trees import leaves, map_leaves

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


COTANGENTS = 0xC07


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


def record(net: nn.Module, run: Run) -> Trace:
    """Run `net` once and record every call of every module.

    Arrays share the memory of the tensors that the run made, or are copies where code of the net
    writes into a tensor after it was recorded: what that is shows at the end of a run, and the
    net runs again. The net's state and random state are as before afterwards; what the run left
    in the floating buffers, and the gradients, are in the trace.
    """
    plain = _plain_outputs(net, run)
    written: set[int] = set()
    while True:
        trace, kept = _record(net, run, plain, written)
        found = kept.written()
        if not found:
            return trace
        written |= found


def _record(
    net: nn.Module, run: Run, plain: list[np.ndarray] | None, written: set[int]
) -> tuple[Trace, "Kept"]:
    """Record one run in which the tensors numbered in `written` are copied."""
    paths = module_paths(net)
    modules = {path: net.get_submodule(path) for path in paths}
    trace = Trace(
        paths=paths,
        parameters={name for name, _ in net.named_parameters(remove_duplicate=False)},
        buffers_before=floating_buffers(modules),
    )
    kept = Kept(net, written)
    recorder = _Recorder(trace, run.backward, kept)
    watch = WatchKernels(recorder.kernel_called, escaped=kept.escaped)
    mode = nullcontext() if run.backward else torch.no_grad()
    with state_kept(net), mode, out_of_place(net) as inplace:
        args, kwargs = _as_leaves(run)
        with wrapped_forwards(modules, recorder.wrap), watch:
            outputs = net(*args, **kwargs)
        if kept.written():
            return trace, kept
        if run.backward:
            ends = [leaf for leaf in leaves(outputs) if is_tensor(leaf) and leaf.requires_grad]
            if ends:
                torch.autograd.backward(ends, run.cotangents(ends))
            trace.gradients = _gradients(net)
        trace.buffers = floating_buffers(modules)
    root = next(call for call in trace.calls if call.path == "")
    if plain is not None and not _same_values(plain, root.outputs):
        trace.inplace = inplace
    return trace, kept


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
    return len(one) == len(other) and all(
        np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        for left, right in zip(one, other, strict=True)
    )


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


class Kept:
    """Tensors kept as arrays: by reference, or as copies where something writes into them.

    The tensors of a run are numbered in the order in which they are kept; those in `copied` are
    copied. What shares memory with a parameter or a buffer is copied always.
    """

    def __init__(self, net: nn.Module, copied: set[int]) -> None:
        self.copied = copied
        self.count = 0
        self.lent: list[tuple[int, torch.Tensor, int]] = []
        self.all_written = ALL in copied
        self.busy = False
        self.owned = {_memory(tensor) for tensor in (*net.parameters(), *net.buffers())}
        self.copies: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def keep(self, tensor: torch.Tensor) -> tuple[np.ndarray, bool]:
        """Return the values of `tensor` as an array, and whether they are a copy."""
        number, self.count = self.count, self.count + 1
        self.busy = True
        try:
            if self.all_written or number in self.copied or _memory(tensor) in self.owned:
                return self._copy(tensor), True
            self.lent.append((number, tensor.detach(), tensor._version))
            return to_array(tensor), False
        finally:
            self.busy = False

    def written(self) -> set[int]:
        """Return the numbers of the tensors that something wrote into after they were kept."""
        found = {number for number, tensor, version in self.lent if tensor._version != version}
        return found | ({ALL} if self.all_written and ALL not in self.copied else set())

    def escaped(self, tensor: torch.Tensor) -> None:
        """Note that code reaches the memory of a tensor of the run past its counter of writes."""
        if not self.busy and not isinstance(tensor, nn.Parameter):
            self.all_written = True

    def _copy(self, tensor: torch.Tensor) -> np.ndarray:
        """Return a copy; the same tensor, unchanged, gives the same array again."""
        owner = tensor if tensor._base is None else tensor._base
        if not _is_whole(tensor, owner):
            return to_array(tensor).copy()
        kept = self.copies.get(owner)
        if kept is None or kept[0] != owner._version:
            kept = self.copies[owner] = (owner._version, to_array(tensor).copy())
        return kept[1]


ALL = -1  # every tensor


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _is_whole(tensor: torch.Tensor, owner: torch.Tensor) -> bool:
    """Tell whether a view shows all of its owner as it is (views share the version counter)."""
    return (
        tensor.shape == owner.shape
        and tensor.stride() == owner.stride()
        and tensor.storage_offset() == owner.storage_offset()
        and tensor.dtype == owner.dtype
    )


class _Recorder:
    def __init__(self, trace: Trace, backward: bool, kept: "Kept") -> None:
        self.trace = trace
        self.backward = backward
        self.kept = kept
        self.counts: dict[str, int] = {}
        self.stack: list[Call] = []
        self.random_state = torch.get_rng_state()

    def wrap(self, path: str, module: nn.Module, forward: Forward) -> Forward:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            self._random_so_far()
            call = Call(path, self.counts.get(path, 0))
            self.counts[path] = call.index + 1
            self.trace.calls.append(call)
            args, kwargs = self._boundary((args, kwargs), None)
            self._record_arguments(call, module, forward, args, kwargs)
            self.stack.append(call)
            try:
                outputs = forward(*args, **kwargs)
                self._random_so_far(replayed=call.mask is not None)
            finally:
                self.stack.pop()
            call.outputs = self._keep(call, "output", leaves(outputs))
            call.template = map_leaves(outputs, lambda leaf: TENSOR if is_tensor(leaf) else leaf)
            return self._boundary(outputs, call.grad_outputs)

        return recorded

    def _record_arguments(
        self, call: Call, module: nn.Module, forward: Forward, args: tuple, kwargs: dict[str, Any]
    ) -> None:
        arguments = arguments_in_order(forward, args, kwargs)
        tensors = [leaf for leaf in arguments if is_tensor(leaf)]
        call.inputs = self._keep(call, "input", tensors)
        call.numbers = [leaf for leaf in arguments if isinstance(leaf, (bool, int, float))]
        call.mask = dropout_mask(module, args, kwargs)
        call.drops_channels = not isinstance(module, nn.Dropout)
        if self.backward:
            for tensor in tensors:
                self._keep_gradient(tensor, call.grad_inputs)

    def _keep(self, call: Call, where: str, values: list[Any]) -> list[np.ndarray]:
        arrays: list[np.ndarray] = []
        for tensor in filter(is_tensor, values):
            array, written = self.kept.keep(tensor)
            if written:
                call.written.add(f"{where}:{len(arrays)}")
            arrays.append(array)
        return arrays

    def _keep_gradient(self, tensor: torch.Tensor, into: list[np.ndarray | None]) -> None:
        """Append a place to `into` that the gradient of `tensor` will fill, if one flows."""
        index = len(into)
        into.append(None)
        if tensor.requires_grad:

            def keep(gradient: torch.Tensor) -> None:
                into[index] = self.kept.keep(gradient)[0]

            tensor.register_hook(keep)

    def _boundary(self, tree: Any, gradients: list[np.ndarray | None] | None) -> Any:
        """Return `tree` with an alias of its own for every tensor, hooked into `gradients`.

        Without aliases a hook would see the gradient of several boundaries summed.
        """
        if not self.backward:
            return tree

        def at_boundary(leaf: Any) -> Any:
            if not is_tensor(leaf):
                return leaf
            own = leaf
            if leaf.requires_grad:
                own = leaf.clone() if leaf.is_leaf else alias(leaf)
            if gradients is not None:
                self._keep_gradient(own, gradients)
            return own

        return map_leaves(tree, at_boundary)

    def _random_so_far(self, replayed: bool = False) -> None:
        """Note whether the code since the last boundary drew random numbers."""
        state = torch.get_rng_state()
        if self.stack and not replayed and not torch.equal(state, self.random_state):
            self.stack[-1].random = True
        self.random_state = state

    def kernel_called(self, kernel: Kernel) -> None:
        if self.stack:
            self.stack[-1].kernels.add(f"{kernel.function}: {kernel.why}")


def arguments_in_order(forward: Forward, args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    """Return the leaves of the arguments in the order of the signature."""
    bound = bind(forward, args, kwargs)
    return leaves((args, kwargs) if bound is None else list(bound.arguments.values()))


def dropout_mask(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> np.ndarray | None:
    """Return what `module`, a dropout layer in train mode, is about to keep; None for others.

    Drawn from the present random state, which is put back: zeros in the input hide the mask in
    the output.
    """
    if not isinstance(module, DROPOUTS) or not module.training or module.p == 0.0:
        return None
    state = torch.get_rng_state()
    tensor = next(leaf for leaf in leaves((args, kwargs)) if is_tensor(leaf))
    draw: Any = type(module).forward
    kept = draw(module, torch.ones_like(tensor, requires_grad=False)) != 0
    torch.set_rng_state(state)
    return kept.numpy()
