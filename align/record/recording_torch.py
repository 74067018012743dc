"""Runs the reference once and records every call of every module."""

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.arrays_torch import is_tensor, scalar_of, to_array
from align.arrays.trees import leaves, map_leaves
from align.judge.watch_kernels_torch import WatchKernels
from align.nets.calls import is_net_with_loss, wrapped_forwards
from align.nets.casts.told import told_of_casts
from align.nets.layers_torch import copied_buffers, module_paths
from align.nets.prepare_torch import out_of_place, state_kept
from align.nets.whole import with_loss
from align.record.bounds_torch import WatchBounds
from align.record.casts_torch import leave_flowing_casts
from align.record.choices.choices_torch import FUNCTIONS
from align.record.kept_tensors_torch import ALL, KeptTensors
from align.record.own_backward_torch import own_backward_raises, refuses_differentiation
from align.record.recorder_torch import CallRecorder
from align.record.trace import BackwardRaises, Call, RunAgain, Trace
from align.record.watch_writes_torch import WatchWrites
from common.errors import UserError
from common.nets import members

COTANGENTS = 0xC07

# (the net, numbers of the tensors that something writes into) -> what keeps its tensors
KeepCalls = Callable[[nn.Module, set[int]], KeptTensors]


@dataclass
class ReferenceRun:
    """One run of the reference. `backward` starts from `cotangents` of its outputs.

    `label`: what of the arguments is the target of a loss. Without `inputs_flow` no gradient is
    asked of the inputs.
    """

    args: tuple
    kwargs: dict[str, Any]
    backward: bool = False
    seed: int | None = 0
    label: Any = None
    inputs_flow: bool = True

    def scalar(self, net: nn.Module) -> torch.Tensor:
        """Run `net` and return the scalar from which its backward pass starts."""
        args, kwargs = as_leaves(net, self, True)
        ends = _differentiable(net(*args, **kwargs))
        return scalar_of(ends, self.cotangents(ends))

    def cotangents(self, outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return one cotangent of N(0, 1) for each output; ones where there is no seed."""
        if self.seed is None:
            return [torch.ones_like(out) for out in outputs]
        rng = np.random.default_rng([self.seed, COTANGENTS])  # never the stream of the inputs
        return [_drawn(rng, out) for out in outputs]


def record(net: nn.Module, run: ReferenceRun, keeper: KeepCalls = KeptTensors) -> Trace:
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
    net: nn.Module, run: ReferenceRun, copies: bool = False, keeper: KeepCalls = KeptTensors
) -> Iterator["Recording"]:
    """Yield the recording of a forward pass, whose `backward` is still to run.

    Arrays share the memory of the tensors that the run made, or are copies where code of the net
    writes into a tensor after it was recorded: what that is shows at the end of a run, and the
    net runs again. `copies` copies everything.

    Modules that write into a tensor which code around them reads afterwards are recorded as a part
    of that code, and work in place. All others work out of place. Those that take or give packed
    sequences are recorded as code too.

    Raises:
        UserError: the net itself returns a packed sequence.
    """
    watched = _watched_run(net, run) if _works_in_place(net) else None
    written = {ALL} if copies else set()
    packed: set[str] = set()
    while True:
        mode = nullcontext() if run.backward else torch.no_grad()
        as_code = packed | (watched.as_code if watched else set())
        with state_kept(net), mode, out_of_place(net, as_code) as inplace:
            recording = Recording(net, run, keeper(net, written), as_code)
            recording.trace.packed.extend(sorted(packed))
            more = recording.packed()
            unwatched = watched is None and recording.recorder.writes_into_inputs
            found = set() if unwatched or more else recording.kept.written()
            if not (unwatched or found or more):
                if watched is not None and not _same_values(watched.outputs, recording.outputs()):
                    recording.trace.inplace.extend(inplace or sorted(as_code) or [""])
                if not run.backward and any(call.casts for call in recording.trace.calls):
                    leave_flowing_casts(net, recording.trace, as_leaves(net, run, True))
                yield recording
                return
        watched = _watched_run(net, run) if unwatched else watched
        written, packed = written | found, packed | more


def _frozen(net: nn.Module) -> dict[str, tuple[torch.Tensor, int]]:
    """Return by name the memory of frozen parameters, and how often code wrote into each.

    Kept, it is not given to another tensor.
    """
    named = members.named_parameters(net, remove_duplicate=False)
    return {name: (p.detach(), p._version) for name, p in named if not p.requires_grad}


class Recording:
    """One run of the reference: its `trace`, and its graph until `backward` was called."""

    def __init__(
        self, net: nn.Module, run: ReferenceRun, kept: KeptTensors, as_code: Set[str] = frozenset()
    ) -> None:
        self.net, self.run, self.kept = net, run, kept
        every = module_paths(net)
        held = {path: net.get_submodule(path) for path in every}
        modules = {path: module for path, module in held.items() if path not in as_code}
        self.trace = Trace(
            paths={path: every[path] for path in modules},
            parameters={name for name, _ in members.named_parameters(net, remove_duplicate=False)},
            buffers_before=copied_buffers(held),
            as_code=sorted(as_code),
        )
        whole = is_net_with_loss(net)
        self.recorder = CallRecorder(self.trace, run.backward, self.kept, whole)
        watch = WatchKernels(
            self.recorder.kernel_called, None, self.kept.escaped, FUNCTIONS, self.recorder.chose
        )
        bounds = WatchBounds(self.recorder.bounds)
        sees_draws = self.recorder.sees_draws
        sees_draws.function = lambda: watch.function
        args, kwargs = as_leaves(net, run, run.backward)
        frozen = _frozen(net)
        try:
            with (
                wrapped_forwards(modules, self.recorder.wrap),
                watch,
                sees_draws,
                bounds,
                told_of_casts(self.recorder.cast),
                refuses_differentiation(self.recorder.has_parts, self.recorder.differentiates),
            ):
                outputs = net(*args, **kwargs)
        finally:
            sees_draws.function = str  # the recorder would hold itself, and every activation
        self.ends = _differentiable(outputs) if run.backward else []
        self.trace.buffers.update(copied_buffers(held))
        for name, (now, writes) in _frozen(net).items():
            before, earlier = frozen.get(name, (now, writes))
            if (now.data_ptr(), writes) != (before.data_ptr(), earlier):
                self.trace.moved[name] = to_array(now).copy()
        self.trace.bounds.extend(self.recorder.bounds.finish())

    def packed(self) -> set[str]:
        """Return the paths of the modules that take or give packed sequences.

        Raises UserError where the net itself gives one.
        """
        found = self.recorder.packed
        if found & {"", "net"}:
            raise UserError(
                "the reference returns a PackedSequence, for which Paddle has nothing: let it "
                "return pad_packed_sequence(...), as the port returns padded tensors"
            )
        return found

    def outputs(self) -> list[np.ndarray]:
        """Return what the net gave."""
        root = next(call for call in self.trace.calls if call.path == "")
        return self.kept.values(root.outputs)

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

        Raises:
            BackwardRaises: the net's own backward pass does not run.
        """
        self.recorder.alone, self.recorder.together = alone, together
        if self.ends:
            self.recorder.awaited.starts(self.ends)
            self._differentiate()
        self.recorder.end()
        if self.run.backward:
            self.trace.gradients.update(gradients_of(self.net))
        self.ends = []
        self.recorder.alone = None
        return not self.kept.written()

    def _differentiate(self) -> None:
        try:
            scalar_of(self.ends, self.run.cotangents(self.ends)).backward()
        except (RunAgain, UserError):
            raise
        except Exception as error:
            cause = own_backward_raises(self.net, lambda: self.run.scalar(self.net))
            if cause is None:
                raise
            raise BackwardRaises(cause) from error


def _differentiable(outputs: Any) -> list[torch.Tensor]:
    return [leaf for leaf in leaves(outputs) if is_tensor(leaf) and leaf.requires_grad]


def _drawn(rng: np.random.Generator, out: torch.Tensor) -> torch.Tensor:
    """Return N(0, 1) in the shape of `out`, in both parts where it is complex."""
    drawn = rng.standard_normal(out.shape)
    if out.is_complex():
        drawn = drawn + 1j * rng.standard_normal(out.shape)
    return torch.from_numpy(np.asarray(drawn)).to(out.dtype)


@dataclass(frozen=True)
class _WatchedRun:
    """What the net as it is gave, and the modules to be recorded as code (`Trace.as_code`)."""

    outputs: list[np.ndarray]
    as_code: set[str]


def _works_in_place(net: nn.Module) -> bool:
    return any(getattr(module, "inplace", False) for module in members.modules(net))


def _watched_run(net: nn.Module, run: ReferenceRun) -> _WatchedRun:
    """Run the net with its modules working in place as they do.

    Without its loss, if that does not run where no gradient flows: it differentiates the net.
    """
    try:
        return _watched(net, run)
    except RuntimeError:
        if not (run.backward and is_net_with_loss(net) and hasattr(net, "net")):
            raise
    with with_loss(net, False):
        return _watched(net, run)


def _watched(net: nn.Module, run: ReferenceRun) -> _WatchedRun:
    watch = WatchWrites()
    modules = {path: net.get_submodule(path) for path in module_paths(net)}
    with state_kept(net), torch.no_grad():
        args, kwargs = map_leaves(
            (run.args, run.kwargs), lambda leaf: leaf.clone() if is_tensor(leaf) else leaf
        )
        with wrapped_forwards(modules, watch.wrap), watch:
            outputs = net(*args, **kwargs)
        arrays = [to_array(leaf).copy() for leaf in leaves(outputs) if is_tensor(leaf)]
    return _WatchedRun(arrays, watch.found)


def _same_values(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Tell whether two runs gave the same but for rounding (other strides, other kernels)."""
    return len(one) == len(other) and all(
        left.shape == right.shape and _is_close(left, right)
        for left, right in zip(one, other, strict=True)
    )


def _is_close(left: np.ndarray, right: np.ndarray) -> bool:
    if left.dtype.kind not in "fc" or not left.size:
        return np.array_equal(left, right)
    largest = float(np.abs(left).max(initial=0.0, where=np.isfinite(left)))
    few = float(np.finfo(left.dtype).eps) ** 0.5 * largest
    return np.allclose(left, right, rtol=0.0, atol=few, equal_nan=True)


def as_leaves(net: nn.Module, run: ReferenceRun, flows: bool) -> tuple[tuple, dict[str, Any]]:
    """Return copies of the arguments, floating ones as leaves of the graph if a gradient `flows`.

    Not those of a label: no loss is differentiated with respect to its target.
    """

    def copied(value: Any) -> Any:
        return value.detach().clone() if is_tensor(value) else value

    def leaf(value: Any) -> Any:
        own = copied(value)
        floating = is_tensor(own) and (own.is_floating_point() or own.is_complex())
        return own.requires_grad_() if flows and run.inputs_flow and floating else own

    if is_net_with_loss(net):
        args, kwargs, label = run.args
        return (*map_leaves((args, kwargs), leaf), map_leaves(label, copied)), {}
    args, kwargs = map_leaves((run.args, run.kwargs), leaf)
    return args, kwargs


def gradients_of(net: nn.Module) -> dict[str, np.ndarray | None]:
    """Return the gradient of every parameter by name, sharing its memory; None where none is."""
    return {
        name: None if parameter.grad is None else to_array(parameter.grad)
        for name, parameter in members.named_parameters(net, remove_duplicate=False)
    }
