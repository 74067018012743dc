"""Runs the reference: once to record every call, and again to measure how far rounding moves it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from align.arrays_torch import is_tensor, to_array
from align.calls import Forward, all_paths, bind, source_of, wrapped_forwards
from align.kernels import KERNELS, Kernel
from align.prepare_torch import state_kept
from align.trace import Call, Place, Trace
from align.trees import leaves, map_leaves

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def module_paths(net: nn.Module) -> dict[str, list[str]]:
    """Return {first path: all paths} of the modules of `net`."""
    return all_paths(net, lambda module: module._modules)


def record(net: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Trace:
    """Run `net` once and record every call of every module. Arrays are copies.

    The net's state and random state are as before afterwards; what the run left in the floating
    buffers is in the trace.
    """
    paths = module_paths(net)
    modules = {path: net.get_submodule(path) for path in paths}
    trace = Trace(
        paths=paths,
        classes={path: type(module).__name__ for path, module in modules.items()},
        sources={path: source_of(module) for path, module in modules.items()},
        parameters={name for name, _ in net.named_parameters(remove_duplicate=False)},
    )
    recorder = _Recorder(trace)
    with state_kept(net), torch.no_grad():
        with wrapped_forwards(modules, recorder.wrap), _WatchKernels(recorder.kernel_called):
            net(*args, **kwargs)
        trace.buffers = floating_buffers(modules)
    return trace


def floating_buffers(modules: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """Return copies of the floating buffers as {"path.name": array}."""
    return {
        f"{path}.{name}".lstrip("."): to_array(buffer).copy()
        for path, module in modules.items()
        for name, buffer in module._buffers.items()
        if buffer is not None and buffer.is_floating_point()
    }


class _Recorder:
    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.counts: dict[str, int] = {}
        self.stack: list[Call] = []
        self.random_state = torch.get_rng_state()

    def wrap(self, path: str, module: nn.Module, forward: Forward) -> Forward:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            self._random_so_far()
            call = Call(path, self.counts.get(path, 0))
            self.counts[path] = call.index + 1
            self.trace.calls.append(call)
            arguments = arguments_in_order(forward, args, kwargs)
            call.inputs = [snapshot(leaf) for leaf in arguments if is_tensor(leaf)]
            call.numbers = [leaf for leaf in arguments if isinstance(leaf, (bool, int, float))]
            call.mask = dropout_mask(module, args, kwargs)
            self.stack.append(call)
            try:
                outputs = forward(*args, **kwargs)
                self._random_so_far(replayed=call.mask is not None)
            finally:
                self.stack.pop()
            call.outputs = [snapshot(leaf) for leaf in leaves(outputs) if is_tensor(leaf)]
            return outputs

        return recorded

    def _random_so_far(self, replayed: bool = False) -> None:
        """Note whether the code since the last boundary drew random numbers."""
        state = torch.get_rng_state()
        if self.stack and not replayed and not torch.equal(state, self.random_state):
            self.stack[-1].random = True
        self.random_state = state

    def kernel_called(self, kernel: Kernel, error: float) -> None:
        if self.stack:
            self.stack[-1].kernels.add(f"{kernel.function}: {kernel.why}")


def arguments_in_order(forward: Forward, args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    """Return the leaves of the arguments in the order of the signature."""
    bound = bind(forward, args, kwargs)
    return leaves((args, kwargs) if bound is None else list(bound.arguments.values()))


def snapshot(tensor: torch.Tensor) -> np.ndarray:
    """Return a copy of the values; the same tensor, unchanged, gives the same array again."""
    kept = getattr(tensor, "_align_snapshot", None)
    if kept is not None and kept[0] == tensor._version:
        return kept[1]
    array = to_array(tensor).copy()
    tensor._align_snapshot = (tensor._version, array)  # type: ignore[attr-defined]
    return array


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
    kept = draw(module, torch.ones_like(tensor)) != 0
    torch.set_rng_state(state)
    return kept.numpy()


class _WatchKernels(TorchFunctionMode):
    """Tells `called(row, error)` of every call of a function of the table, and may change it."""

    def __init__(
        self,
        called: Callable[[Kernel, float], None],
        change: Callable[[Any, float], Any] | None = None,
    ) -> None:
        super().__init__()
        self.called = called
        self.change = change
        self.rows = {kernel.function: kernel for kernel in KERNELS}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        kernel = self.rows.get(getattr(func, "__name__", ""))
        if kernel is None or not is_tensor(result):
            return result
        bound = bind(func, args, kwargs or {})
        source = next(leaf for leaf in leaves((args, kwargs or {})) if is_tensor(leaf))
        settings = {} if bound is None else dict(bound.arguments)
        error = kernel.error(tuple(source.shape[2:]), tuple(result.shape[2:]), settings)
        if error == 0.0:
            return result
        self.called(kernel, error)
        return result if self.change is None else self.change(result, error)


Moves = dict[Place, float]  # largest movement of each tensor


def rounding_moves(
    net: nn.Module, trace: Trace, args: tuple, kwargs: dict[str, Any], judged: set[str]
) -> Moves:
    """Return how far inputs, weights and buffers that move by one unit in the last place move.

    The reference runs as the port will: each judged module gets the recorded inputs and hands on
    the recorded outputs, all moved by one unit in the last place, with random signs.
    """
    moved = _Moved(trace, judged, units=1.0)
    with state_kept(net), torch.no_grad():
        for tensor in {id(t): t for t in (*net.parameters(), *net.buffers())}.values():
            tensor.copy_(moved.jitter(tensor))
        modules = {path: net.get_submodule(path) for path in trace.paths}
        moved.run(net, modules, args, kwargs)
        moved.buffers(floating_buffers(modules))
    return moved.moves


def kernel_moves(
    net: nn.Module, trace: Trace, args: tuple, kwargs: dict[str, Any], judged: set[str]
) -> Moves:
    """Return how far tensors move when the kernels of the table are off by what it allows."""
    if not any(call.kernels for call in trace.calls):
        return {}
    moved = _Moved(trace, judged, units=0.0)
    with state_kept(net), torch.no_grad():
        modules = {path: net.get_submodule(path) for path in trace.paths}
        with _WatchKernels(lambda kernel, error: None, moved.off_by):
            moved.run(net, modules, args, kwargs)
        moved.buffers(floating_buffers(modules))
    return moved.moves


def is_seen(
    net: nn.Module, trace: Trace, args: tuple, kwargs: dict[str, Any], judged: set[str], path: str
) -> bool:
    """Tell whether the outputs of `path`, which is not judged, reach anything that is."""
    moved = _Moved(trace, judged, units=0.0, disturbed=path)
    with state_kept(net), torch.no_grad():
        modules = {path: net.get_submodule(path) for path in trace.paths}
        moved.run(net, modules, args, kwargs)
    return any(moved.moves.values())


class _Moved:
    """A forced run of the reference itself, disturbed, that notes how far each tensor moves."""

    def __init__(
        self, trace: Trace, judged: set[str], units: float, disturbed: str | None = None
    ) -> None:
        self.disturbed = disturbed
        self.trace = trace
        self.judged = judged
        self.units = units
        self.generator = torch.Generator().manual_seed(0)
        self.moves: Moves = {}
        self.calls = {(call.path, call.index): call for call in trace.calls}
        self.counts: dict[str, int] = {}

    def _signs(self, tensor: torch.Tensor) -> torch.Tensor:
        drawn = torch.randint(0, 2, tensor.shape, generator=self.generator, dtype=torch.int8)
        return (2 * drawn - 1).to(tensor.dtype)

    def jitter(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return `tensor` with every element moved by `units` in the last place."""
        if not tensor.is_floating_point() or not self.units:
            return tensor
        step = torch.finfo(tensor.dtype).eps * self.units
        return tensor + tensor.abs() * self._signs(tensor) * step

    def off_by(self, result: torch.Tensor, error: float) -> torch.Tensor:
        """Return `result` with every element off by `error` of the largest magnitude."""
        return result + self._signs(result) * (error * result.abs().max())

    def run(
        self, net: nn.Module, modules: Mapping[str, nn.Module], args: tuple, kwargs: dict[str, Any]
    ) -> None:
        args, kwargs = map_leaves((args, kwargs), self._jitter_leaf)
        with wrapped_forwards(modules, self._wrap):
            net(*args, **kwargs)

    def _jitter_leaf(self, leaf: Any) -> Any:
        return self.jitter(leaf) if is_tensor(leaf) else leaf

    def _wrap(self, path: str, module: nn.Module, forward: Forward) -> Forward:
        if path == self.disturbed:
            return lambda *args, **kwargs: map_leaves(forward(*args, **kwargs), self._disturb)
        if path not in self.judged:
            return forward

        def forced(*args: Any, **kwargs: Any) -> Any:
            index = self.counts.get(path, 0)
            self.counts[path] = index + 1
            call = self.calls[path, index]
            args, kwargs = self._hand_on(call, "input", forward, args, kwargs)
            outputs = forward(*args, **kwargs)
            return self._replaced(call, "output", call.outputs, outputs)

        return forced

    def _hand_on(
        self, call: Call, where: str, forward: Forward, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        bound = bind(forward, args, kwargs)
        if bound is None:
            replaced: tuple[tuple, dict] = self._replaced(call, where, call.inputs, (args, kwargs))
            return replaced
        values = self._replaced(call, where, call.inputs, list(bound.arguments.values()))
        bound.arguments.update(zip(bound.arguments, values, strict=True))
        return bound.args, bound.kwargs

    def _disturb(self, leaf: Any) -> Any:
        floating = is_tensor(leaf) and leaf.is_floating_point()
        return self.off_by(leaf, 0.1) if floating and leaf.numel() else leaf

    def _replaced(self, call: Call, where: str, recorded: list[np.ndarray], tree: Any) -> Any:
        numbers: Iterator[tuple[int, np.ndarray]] = iter(enumerate(recorded))

        def replace(leaf: Any) -> Any:
            if not is_tensor(leaf):
                return leaf
            index, array = next(numbers)
            reference = torch.from_numpy(array).to(leaf.dtype)
            self._note(call.place(f"{where}:{index}"), leaf, reference)
            return self.jitter(reference.clone())

        return map_leaves(tree, replace)

    def _note(self, place: Place, moved: torch.Tensor, reference: torch.Tensor) -> None:
        if reference.numel() == 0:
            move = 0.0
        elif moved.is_floating_point():
            move = float((moved - reference).abs().nan_to_num(0.0).max())
        else:
            move = float((moved != reference).sum())
        self.moves[place] = move

    def buffers(self, after: Mapping[str, np.ndarray]) -> None:
        for name, array in after.items():
            reference = self.trace.buffers[name]
            self.moves["", 0, f"buffer:{name}"] = float(np.abs(array - reference).max(initial=0.0))
