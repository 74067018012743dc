"""Free runs of the reference with its loss: as it is, and moved by rounding."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.arguments import Forward
from align.arrays.arrays_torch import is_tensor, scalar_of, to_array
from align.arrays.trees import leaves, map_leaves
from align.judge.kernel_errors_torch import COHERENT_DRAWS, Errors
from align.judge.kernels import Kernel
from align.judge.watch_kernels_torch import WatchKernels
from align.nets.calls import wrapped_forwards
from align.nets.layers_torch import copied_buffers, module_paths
from align.nets.prepare_torch import state_kept
from align.nets.whole import with_loss
from align.record.draws import CallKey
from align.record.draws_torch import SeesDraws
from align.record.recording_torch import ReferenceRun, as_leaves, gradients_of
from align.record.trace import Call, Trace
from align.rounding.noise_torch import Noise
from align.rounding.rounding_torch import combined
from align.trial.whole_run.free_values import FreeValues, changed, distances
from common.nets import members

DRAWS = 4  # of signs: the largest distance is taken
COUNTER = "num_batches_tracked"  # Paddle has none

Moves = dict[str, float]  # by place in `FreeValues`


class ReferenceRuns:
    """Runs a net with its loss, `prepared`, which is as before after each run."""

    def __init__(self, net: nn.Module, run: ReferenceRun) -> None:
        self.net, self.run = net, run
        self.exact = FreeValues()
        self.buffers: dict[str, np.ndarray] = {}  # that the last run left

    def observed(self) -> tuple[FreeValues, Trace]:
        """Return what a run comes to, and a trace of its calls with what they drew."""
        trace = Trace(paths=module_paths(self.net))
        modules = {path: self.net.get_submodule(path) for path in trace.paths}
        stack: list[CallKey] = []
        counts: dict[str, int] = {}

        def wrap(path: str, module: nn.Module, forward: Forward) -> Forward:
            def noted(*args: Any, **kwargs: Any) -> Any:
                call = Call(path, counts.get(path, 0))
                counts[path] = call.index + 1
                trace.calls.append(call)
                stack.append(call.key)
                try:
                    outputs = forward(*args, **kwargs)
                    sees.check()
                finally:
                    stack.pop()
                return outputs

            return noted

        sees = SeesDraws(trace.draws, lambda: tuple(stack), str, _as_it_is)
        with wrapped_forwards(modules, wrap):
            self.exact = self._outcome(sees, lambda leaf: leaf)
        self.exact.moved = self._moved()
        return self.exact, trace

    def moves(self) -> tuple[Moves, Moves]:
        """Return how far tensors move by rounding, and by the errors of inexact kernels."""
        rounding: Moves = {}
        for seed in range(DRAWS):
            noise = Noise(1.0, seed)
            with state_kept(self.net), _jittered(self.net, noise):
                found = distances(self.exact, self._outcome(nullcontext(), noise.jitter))
            for place, apart in found.items():
                rounding[place] = max(apart, rounding.get(place, 0.0))
        return rounding, self._kernels()

    def _kernels(self) -> Moves:
        called: list[Kernel] = []

        def off(seed: int, draw: int | None) -> tuple[Moves, Errors]:
            errors = Errors(Noise(0.0, seed).signs, draw)
            outcome = self._outcome(WatchKernels(called.append, errors), lambda leaf: leaf)
            return distances(self.exact, outcome), errors

        first, errors = off(0, 0)
        if not called:
            return {}
        coherent = [first, *(off(draw, draw)[0] for draw in range(1, errors.draws))]
        return combined(off(COHERENT_DRAWS, None)[0], coherent)

    def _outcome(
        self, around: AbstractContextManager[Any], move: Callable[[torch.Tensor], torch.Tensor]
    ) -> FreeValues:
        """Run forward and backward; `move` gives what stands for each floating input."""
        with with_loss(self.net), state_kept(self.net), torch.enable_grad():
            args, kwargs = self._leaves(move)
            with around:
                outputs = self.net(*args, **kwargs)
                ends = [leaf for leaf in leaves(outputs) if is_tensor(leaf)]
                slopes = [end for end in ends if end.requires_grad]
                if slopes:
                    scalar_of(slopes, [torch.ones_like(end) for end in slopes]).backward()
            self.buffers = _buffers(self.net)
            found = FreeValues()
            for index, end in enumerate(ends):
                found.values[f"loss:{index}"] = to_array(end).copy()
            given = [leaf for leaf in leaves(args[:2]) if is_tensor(leaf) and leaf.requires_grad]
            for index, leaf in enumerate(given):
                found.values[f"grad_input:{index}"] = _copy(leaf.grad)
            for name, gradient in gradients_of(self.net).items():
                found.values[f"grad:{name}"] = None if gradient is None else gradient.copy()
        return found

    def _leaves(self, move: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        args, kwargs = as_leaves(self.net, self.run, True)

        def moved(leaf: Any) -> Any:
            flows = is_tensor(leaf) and leaf.requires_grad
            return move(leaf).detach().requires_grad_() if flows else leaf

        return map_leaves(args, moved), kwargs

    def _moved(self) -> list[str]:
        """Return the buffers that the run just made left otherwise than the net alone does."""
        with with_loss(self.net, False), state_kept(self.net), torch.enable_grad():
            args, kwargs = self._leaves(lambda leaf: leaf)
            self.net(*args, **kwargs)
            alone = _buffers(self.net)
        return changed(self.buffers, alone)


def _as_it_is(values: np.ndarray) -> np.ndarray:
    return values


def _copy(gradient: torch.Tensor | None) -> np.ndarray | None:
    return None if gradient is None else to_array(gradient).copy()


def _buffers(net: nn.Module) -> dict[str, np.ndarray]:
    held = {path: net.get_submodule(path) for path in module_paths(net)}
    found = copied_buffers(held)
    return {name: array for name, array in found.items() if not name.endswith(COUNTER)}


@contextmanager
def _jittered(net: nn.Module, noise: Noise) -> Iterator[None]:
    """Move parameters, buffers and what each module returns by a unit in the last place."""

    def off(leaf: Any) -> Any:
        floating = is_tensor(leaf) and (leaf.is_floating_point() or leaf.is_complex())
        return leaf * noise.jitter(torch.ones_like(leaf)) if floating else leaf

    def after(module: nn.Module, args: Any, outputs: Any) -> Any:
        return map_leaves(outputs, off)

    with torch.no_grad():
        for tensor in (*members.parameters(net), *members.buffers(net)):
            tensor.copy_(noise.jitter(tensor))
    inner = [module for module in members.modules(net) if not module._modules]
    hooks = [module.register_forward_hook(after) for module in inner]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
