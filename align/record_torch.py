"""Runs the reference: once to record every call, and again to measure how far rounding moves it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from align.arrays_torch import is_tensor, to_array
from align.calls import Forward, all_paths, bind, source_of, wrapped_forwards
from align.forcing import ForcedRun, Seen, Source
from align.kernel_errors_torch import Errors
from align.kernels import KERNELS, Kernel
from align.prepare_torch import state_kept
from align.trace import TENSOR, Call, Place, Trace
from align.trees import leaves, map_leaves

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


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
        rng = np.random.default_rng(self.seed)
        return [torch.from_numpy(rng.standard_normal(out.shape)).to(out.dtype) for out in outputs]


def module_paths(net: nn.Module) -> dict[str, list[str]]:
    """Return {first path: all paths} of the modules of `net`."""
    return all_paths(net, lambda module: module._modules)


def record(net: nn.Module, run: Run) -> Trace:
    """Run `net` once and record every call of every module. Arrays are copies.

    The net's state and random state are as before afterwards; what the run left in the floating
    buffers, and the gradients, are in the trace.
    """
    paths = module_paths(net)
    modules = {path: net.get_submodule(path) for path in paths}
    trace = Trace(
        paths=paths,
        classes={path: type(module).__name__ for path, module in modules.items()},
        sources={path: source_of(module) for path, module in modules.items()},
        parameters={name for name, _ in net.named_parameters(remove_duplicate=False)},
        buffers_before=floating_buffers(modules),
    )
    recorder = _Recorder(trace, run.backward)
    watch = _WatchKernels(recorder.kernel_called)
    with state_kept(net), nullcontext() if run.backward else torch.no_grad():
        args, kwargs = _as_leaves(run)
        with wrapped_forwards(modules, recorder.wrap), watch:
            outputs = net(*args, **kwargs)
        if run.backward:
            ends = [leaf for leaf in leaves(outputs) if is_tensor(leaf) and leaf.requires_grad]
            if ends:
                torch.autograd.backward(ends, run.cotangents(ends))
            trace.gradients = _gradients(net)
        trace.buffers = floating_buffers(modules)
    return trace


def _as_leaves(run: Run) -> tuple[tuple, dict[str, Any]]:
    """Return the arguments, floating ones as leaves of the graph in a backward run."""
    if not run.backward:
        return run.args, run.kwargs

    def leaf(value: Any) -> Any:
        floating = is_tensor(value) and value.is_floating_point()
        return value.detach().clone().requires_grad_() if floating else value

    args, kwargs = map_leaves((run.args, run.kwargs), leaf)
    return args, kwargs


def _gradients(net: nn.Module) -> dict[str, np.ndarray | None]:
    return {
        name: None if parameter.grad is None else to_array(parameter.grad).copy()
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
    def __init__(self, trace: Trace, backward: bool) -> None:
        self.trace = trace
        self.backward = backward
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
            call.outputs = [snapshot(leaf) for leaf in leaves(outputs) if is_tensor(leaf)]
            call.template = map_leaves(outputs, lambda leaf: TENSOR if is_tensor(leaf) else leaf)
            return self._boundary(outputs, call.grad_outputs)

        return recorded

    def _record_arguments(
        self, call: Call, module: nn.Module, forward: Forward, args: tuple, kwargs: dict[str, Any]
    ) -> None:
        arguments = arguments_in_order(forward, args, kwargs)
        tensors = [leaf for leaf in arguments if is_tensor(leaf)]
        call.inputs = [snapshot(tensor) for tensor in tensors]
        call.numbers = [leaf for leaf in arguments if isinstance(leaf, (bool, int, float))]
        call.mask = dropout_mask(module, args, kwargs)
        if self.backward:
            for tensor in tensors:
                keep_gradient(tensor, call.grad_inputs)

    def _boundary(self, tree: Any, gradients: list[np.ndarray | None] | None) -> Any:
        """Return `tree` with a view of its own for every tensor, hooked into `gradients`.

        Without views a hook would see the gradient of several boundaries summed.
        """
        if not self.backward:
            return tree

        def view(leaf: Any) -> Any:
            if not is_tensor(leaf):
                return leaf
            own = leaf.view_as(leaf) if leaf.requires_grad else leaf
            if gradients is not None:
                keep_gradient(own, gradients)
            return own

        return map_leaves(tree, view)

    def _random_so_far(self, replayed: bool = False) -> None:
        """Note whether the code since the last boundary drew random numbers."""
        state = torch.get_rng_state()
        if self.stack and not replayed and not torch.equal(state, self.random_state):
            self.stack[-1].random = True
        self.random_state = state

    def kernel_called(self, kernel: Kernel) -> None:
        if self.stack:
            self.stack[-1].kernels.add(f"{kernel.function}: {kernel.why}")


def keep_gradient(tensor: torch.Tensor, into: list[np.ndarray | None]) -> None:
    """Append a place to `into` that the gradient of `tensor` will fill, if one flows."""
    index = len(into)
    into.append(None)
    if tensor.requires_grad:

        def keep(gradient: torch.Tensor) -> None:
            into[index] = to_array(gradient).copy()

        tensor.register_hook(keep)


def arguments_in_order(forward: Forward, args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    """Return the leaves of the arguments in the order of the signature."""
    bound = bind(forward, args, kwargs)
    return leaves((args, kwargs) if bound is None else list(bound.arguments.values()))


def snapshot(tensor: torch.Tensor) -> np.ndarray:
    """Return a copy of the values; the same tensor, unchanged, gives the same array again."""
    owner = tensor if tensor._base is None else tensor._base
    if not _is_whole(tensor, owner):
        return to_array(tensor).copy()
    kept = getattr(owner, "_align_snapshot", None)
    if kept is not None and kept[0] == owner._version:
        return kept[1]
    array = to_array(tensor).copy()
    owner._align_snapshot = (owner._version, array)  # type: ignore[attr-defined]
    return array


def _is_whole(tensor: torch.Tensor, owner: torch.Tensor) -> bool:
    """Tell whether a view shows all of its owner as it is (views share the version counter)."""
    return (
        tensor.shape == owner.shape
        and tensor.stride() == owner.stride()
        and tensor.storage_offset() == owner.storage_offset()
        and tensor.dtype == owner.dtype
    )


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


class _WatchKernels(TorchFunctionMode):
    """Tells `called(row)` of every call of a function of the table; with `errors` it errs."""

    def __init__(self, called: Callable[[Kernel], None], errors: Errors | None = None) -> None:
        super().__init__()
        self.called = called
        self.errors = errors
        self.rows = {kernel.function: kernel for kernel in KERNELS}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        kernel = self.rows.get(getattr(func, "__name__", ""))
        result = func(*args, **kwargs)
        if kernel is None or not is_tensor(result) or not result.is_floating_point():
            return result
        bound = bind(func, args, kwargs)
        source = next(leaf for leaf in leaves((args, kwargs)) if is_tensor(leaf))
        settings = {} if bound is None else dict(bound.arguments)
        errors = kernel.errors(tuple(source.shape[2:]), tuple(result.shape[2:]), settings)
        if errors == (0.0, 0.0):
            return result
        self.called(kernel)
        if self.errors is None:
            return result
        return self.errors.call(kernel, errors, func, args, kwargs)


Moves = dict[Place, float]  # largest movement of each tensor


def rounding_moves(net: nn.Module, trace: Trace, run: Run, judged: set[str]) -> Moves:
    """Return how far tensors move when inputs, weights and cotangents move by one unit.

    The reference runs as the port will: each judged module gets the recorded inputs and hands on
    the recorded outputs, all moved by one unit in the last place, with random signs.
    """
    moved = _Moved(trace, judged, run, units=1.0)
    with state_kept(net):
        with torch.no_grad():
            for tensor in {id(t): t for t in (*net.parameters(), *net.buffers())}.values():
                tensor.copy_(moved.jitter(tensor))
        moved.run_net(net)
    return moved.moves


def kernel_moves(net: nn.Module, trace: Trace, run: Run, judged: set[str]) -> Moves:
    """Return how far tensors move when the kernels of the table are off by what it allows.

    Several draws, because the errors of two kernels, or of two axes, may cancel in a scalar:
    `KERNEL_SPREAD` times the root of the mean square of the coherent ones, plus a random one.
    """
    if not any(call.kernels for call in trace.calls):
        return {}
    entered = {call.path for call in trace.calls if call.kernels}
    entered |= {path for path in trace.paths if any(_is_above(path, inner) for inner in entered)}
    squares: Moves = {}
    together: Moves = {}
    for draw in range(COHERENT_DRAWS + 1):
        moved = _Moved(trace, judged, run, units=0.0, seed=draw, entered=entered)
        errors = Errors(moved.signs, coherent=draw < COHERENT_DRAWS)
        with state_kept(net), _WatchKernels(lambda kernel: None, errors):
            moved.run_net(net)
        for place, move in moved.moves.items():
            if errors.coherent:
                squares[place] = squares.get(place, 0.0) + move**2 / COHERENT_DRAWS
            else:
                together[place] = KERNEL_SPREAD * squares.get(place, 0.0) ** 0.5 + move
    return together


def _is_above(path: str, inner: str) -> bool:
    return path != inner and (not path or inner.startswith(f"{path}."))


COHERENT_DRAWS = 3
KERNEL_SPREAD = 2.0


def is_seen(net: nn.Module, trace: Trace, run: Run, judged: set[str], path: str) -> bool:
    """Tell whether the outputs of `path`, which is not judged, reach anything that is."""
    forward_only = Run(run.args, run.kwargs)
    moved = _Moved(trace, judged, forward_only, units=0.0, disturbed=path)
    with state_kept(net):
        moved.run_net(net)
    return any(moved.moves.values())


class _Moved:
    """A forced run of the reference itself, disturbed, that notes how far each tensor moves."""

    def __init__(
        self,
        trace: Trace,
        judged: set[str],
        run: Run,
        units: float,
        disturbed: str | None = None,
        seed: int = 0,
        entered: set[str] | None = None,
    ) -> None:
        self.entered = entered  # only these modules' code is run; None: all of it
        self.trace = trace
        self.judged = judged
        self.run = run
        self.units = units
        self.disturbed = disturbed
        self.generator = torch.Generator().manual_seed(seed)
        self.moves: Moves = {}
        self.calls = {(call.path, call.index): call for call in trace.calls}
        self.counts: dict[str, int] = {}

    def signs(self, tensor: torch.Tensor) -> torch.Tensor:
        """Draw +1 and -1 in the shape of `tensor`."""
        drawn = torch.randint(0, 2, tensor.shape, generator=self.generator, dtype=torch.int8)
        return (2 * drawn - 1).to(tensor.dtype)

    def jitter(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return `tensor` with every element moved by `units` in the last place."""
        if not tensor.is_floating_point() or not self.units:
            return tensor
        step = torch.finfo(tensor.dtype).eps * self.units
        return tensor + tensor.abs() * self.signs(tensor) * step

    def run_net(self, net: nn.Module) -> None:
        modules = {path: net.get_submodule(path) for path in self.trace.paths}
        forced = ForcedRun(
            self,
            self._next_call,
            self._note,
            backward=self.run.backward,
            substitute=self._unless_entered,
        )

        def wrap(path: str, module: nn.Module, forward: Forward) -> Forward:
            if path == self.disturbed:
                return lambda *args, **kwargs: map_leaves(forward(*args, **kwargs), self._disturb)
            return forced.wrap(path, module, forward) if path in self.judged else forward

        mode = nullcontext() if self.run.backward else torch.no_grad()
        with mode, wrapped_forwards(modules, wrap):
            net(*self.run.args, **self.run.kwargs)
        self._note_gradients(net, forced.gradients)
        ran = {
            path: m for path, m in modules.items() if self.entered is None or path in self.entered
        }
        for name, array in floating_buffers(ran).items():
            move = float(np.abs(array - self.trace.buffers[name]).max(initial=0.0))
            self.moves["", 0, f"buffer:{name}"] = move

    def _unless_entered(self, module: nn.Module, call: Call, forward: Forward) -> Forward:
        """Return `forward`; for a call that nothing can move, a function of the recording."""
        if self.entered is None or call.path in self.entered:
            return forward
        arrays = iter(call.outputs)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            return map_leaves(
                call.template,
                lambda leaf: torch.from_numpy(next(arrays)) if leaf is TENSOR else leaf,
            )

        return recorded

    def _next_call(self, path: str) -> Call:
        index = self.counts.get(path, 0)
        self.counts[path] = index + 1
        return self.calls[path, index]

    def _disturb(self, leaf: Any) -> Any:
        floating = is_tensor(leaf) and leaf.is_floating_point()
        return Errors(self.signs, coherent=False).off_by(leaf, 0.1) if floating else leaf

    def _note(self, seen: Seen) -> None:
        if seen.expected is not None and seen.found is not None and is_tensor(seen.found):
            self._note_distance(seen.place, seen.found, seen.expected)

    def _note_distance(
        self, place: Place, found: torch.Tensor, expected: np.ndarray | None
    ) -> None:
        if expected is None or not found.numel():
            return
        reference = torch.from_numpy(np.asarray(expected))
        if found.is_floating_point():
            move = float((found.detach() - reference).abs().nan_to_num(0.0).max())
        else:
            move = float((found != reference).sum())
        self.moves[place] = move

    def _note_gradients(self, net: nn.Module, gradients: Mapping[int, torch.Tensor]) -> None:
        for name, parameter in net.named_parameters(remove_duplicate=False):
            gradient = gradients.get(id(parameter))
            if gradient is not None:
                place = ("", 0, f"grad:{name}")
                self._note_distance(place, gradient, self.trace.gradients.get(name))

    # What `ForcedRun` asks of a framework.

    def is_tensor(self, value: Any) -> bool:
        return is_tensor(value)

    def leaf(self, array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
        tensor = self.jitter(torch.from_numpy(array).to(like.dtype).clone())
        floating = tensor.is_floating_point()
        return tensor.requires_grad_() if self.run.backward and floating else tensor

    def handed(self, leaf: torch.Tensor) -> torch.Tensor:
        return leaf.clone() if leaf.requires_grad else leaf

    def vjp(self, sources: Sequence[Source], wrt: Sequence[torch.Tensor]) -> list[Any | None]:
        parts = [
            (tensor * self.jitter(torch.from_numpy(np.asarray(cotangent)).to(tensor.dtype))).sum()
            for tensor, cotangent in sources
            if tensor.requires_grad
        ]
        wanted = [tensor for tensor in wrt if tensor.requires_grad]
        if not parts or not wanted:
            return [None] * len(wrt)
        total = torch.stack(parts).sum()
        found = iter(torch.autograd.grad(total, wanted, allow_unused=True))
        return [next(found) if tensor.requires_grad else None for tensor in wrt]

    def parameters(self, module: nn.Module) -> Mapping[int, Any]:
        return {id(p): p for p in module.parameters()}
