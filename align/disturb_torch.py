"""Runs the reference again, disturbed, to measure how far rounding moves every tensor."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays_torch import is_tensor
from align.calls import Forward, wrapped_forwards
from align.forcing import ForcedRun, Seen, Source
from align.kernel_errors_torch import Errors, WatchKernels
from align.prepare_torch import out_of_place, state_kept
from align.record_torch import Run, floating_buffers
from align.trace import TENSOR, Call, Place, Trace
from align.trees import map_leaves

Moves = dict[Place, float]  # largest movement of each tensor


def rounding_moves(net: nn.Module, trace: Trace, run: Run, judged: set[str]) -> Moves:
    """Return how far tensors move when inputs, weights and cotangents move by one unit.

    The reference runs as the port will: each judged module gets the recorded inputs and hands on
    the recorded outputs, all moved by one unit in the last place, with random signs.
    """
    moved = _Disturbed(trace, judged, run, units=1.0)
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
        moved = _Disturbed(trace, judged, run, units=0.0, seed=draw, entered=entered)
        errors = Errors(moved.signs, coherent=draw < COHERENT_DRAWS)
        with state_kept(net), WatchKernels(lambda kernel: None, errors):
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
    moved = _Disturbed(trace, judged, forward_only, units=0.0, disturbed=path)
    with state_kept(net):
        moved.run_net(net)
    return any(moved.moves.values())


class _Disturbed:
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
        with mode, out_of_place(net), wrapped_forwards(modules, wrap):
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
