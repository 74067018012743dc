"""Runs the reference again, disturbed, to measure how far rounding moves every tensor."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import nn

from align.judge.kernel_errors_torch import COHERENT_DRAWS, Errors
from align.judge.watch_kernels_torch import WatchKernels
from align.nets.prepare_torch import rounded_constants, state_kept
from align.record.recording_torch import ReferenceRun
from align.record.trace import Call, Trace, around
from align.rounding.disturbed_run_torch import DisturbedRun
from align.rounding.movements_torch import Movements
from common.nets import members

KERNEL_SPREAD = 2.0

Place = TypeVar("Place")


class Rounding:
    """How far tensors move when inputs, weights and cotangents move by one unit: in `moves`.

    The reference runs as the port will: each judged module gets the recorded inputs and hands on
    the recorded outputs, all moved by one unit in the last place, with random signs.
    """

    def __init__(
        self,
        net: nn.Module,
        trace: Trace,
        run: ReferenceRun,
        judged: set[str],
        watched: Collection[str] = (),
    ) -> None:
        self.net = net
        self.moved = DisturbedRun(trace, judged, run, units=1.0, watched=watched)
        self.moves = self.moved.movements.moves

    def alone(self, call: Call) -> None:
        """Run one call by itself, while the reference's backward runs."""
        self.moved.run_alone(self.net, call)

    def not_needed(self, paths: Iterable[str]) -> None:
        """Leave out modules whose only call is equal whatever rounding does."""
        self.moved.alone.update(paths)

    def lost_in_sums(self, name: str, parameter: torch.Tensor) -> float:
        """Return what the gradient of a bias loses as a sum over pixels, whatever it comes to."""
        return self.moved.movements.lost_in_sums(name, parameter)

    def drops(self, name: str, gradient: torch.Tensor) -> None:
        """Note the gradient of a parameter that is judged and will not be kept."""
        self.moved.movements.note_dropped(name, gradient)

    def together(self, call: Call, within: list[Call]) -> bool:
        """Run one call and the calls `within` it likewise; tell whether that can be kept."""
        return self.moved.run_together(self.net, call, within)

    def keep_together(self, call: Call, within: list[Call]) -> None:
        """Keep what `together` found."""
        self.moved.keep_together(self.net, (call, *within))

    def finish(self) -> None:
        """Run all that did not run alone."""
        with state_kept(self.net):
            with torch.no_grad():
                tensors = (*members.parameters(self.net), *members.buffers(self.net))
                for tensor in {id(tensor): tensor for tensor in tensors}.values():
                    tensor.copy_(self.moved.noise.jitter(tensor))
            self.moved.run_net(self.net)


def kernel_moves(
    net: nn.Module, trace: Trace, run: ReferenceRun, judged: set[str], watched: Collection[str] = ()
) -> Movements:
    """Return how far tensors move when the kernels of the table are off by what it allows.

    Several draws, because the errors of two kernels, or of two axes, may cancel in a scalar:
    `KERNEL_SPREAD` times the root of the mean square of the coherent ones, plus a random one.
    """
    calls = [call for call in trace.calls if not (call.alone or call.gone)]

    def everywhere(moved: DisturbedRun) -> None:
        moved.run_net(net)

    return _over_draws(net, trace, run, judged, calls, everywhere, watched)


def kernel_moves_together(
    net: nn.Module,
    trace: Trace,
    run: ReferenceRun,
    judged: set[str],
    call: Call,
    within: list[Call],
) -> Movements:
    """Return the same of one call and the calls inside it, while the reference runs backward."""
    calls = [each for each in (call, *within) if not each.alone]
    exact: dict[int, torch.Tensor] = {}  # those of the recorded run may not be complete
    learns = any(net.get_submodule(each.path)._parameters for each in calls)
    if learns and any(each.kernels for each in calls):
        as_it_is = DisturbedRun(trace, judged, run, units=0.0)
        as_it_is.run_together(net, call, within)
        exact = as_it_is.together.gradients

    def here(moved: DisturbedRun) -> None:
        moved.run_together(net, call, within)
        moved.movements.note_between(net, moved.together.gradients, exact)

    return _over_draws(net, trace, run, judged, calls, here)


def _over_draws(
    net: nn.Module,
    trace: Trace,
    run: ReferenceRun,
    judged: set[str],
    calls: list[Call],
    disturb: Callable[[DisturbedRun], None],
    watched: Collection[str] = (),
) -> Movements:
    """See `kernel_moves`; `disturb` runs the code of `calls`."""
    if not any(call.kernels for call in calls):
        return {}
    entered = around(call for call in calls if call.kernels)
    running = [net.get_submodule(path) for path in entered]
    whole = calls[0].path == "" if calls else True

    def drawn(seed: int, draw: int | None) -> tuple[Movements, Errors]:
        moved = DisturbedRun(
            trace, judged, run, units=0.0, seed=seed, entered=entered, watched=watched
        )
        errors = Errors(moved.noise.signs, draw)
        kept = state_kept(net, None if watched else running) if whole else nullcontext()
        with kept, WatchKernels(lambda kernel: None, errors):
            disturb(moved)
        return moved.movements.moves, errors

    first, errors = drawn(0, 0)
    coherent = [first, *(drawn(draw, draw)[0] for draw in range(1, errors.draws))]
    return combined(drawn(COHERENT_DRAWS, None)[0], coherent)


def combined(
    moves: Mapping[Place, float], coherent: Sequence[Mapping[Place, float]]
) -> dict[Place, float]:
    """Return how far errors of kernels move tensors, of random ones and several coherent ones."""
    found = {}
    for place, apart in moves.items():
        length = math.hypot(*(each.get(place, 0.0) for each in coherent))  # squares may overflow
        found[place] = apart + KERNEL_SPREAD * length / len(coherent) ** 0.5
    return found


def constant_moves(net: nn.Module, trace: Trace, run: ReferenceRun) -> Movements:
    """Return how far tensors move when epsilon and momentum are rounded to float32.

    Kernels of Paddle hold them so; which of the port's layers use these is not known yet.
    """
    changes = {}
    for path in trace.paths:
        module = net.get_submodule(path)
        rounded = {
            name: value
            for name, value in rounded_constants(module).items()
            if value != getattr(module, name)
        }
        if rounded:
            changes[path] = {name: (getattr(module, name), rounded[name]) for name in rounded}
    if not changes:
        return {}
    entered = around(call for call in trace.calls if call.path in changes)
    moved = DisturbedRun(trace, set(trace.paths), run, units=0.0, entered=entered)
    try:
        _set(net, changes, 1)
        with state_kept(net), torch.set_grad_enabled(run.backward):
            moved.run_net(net)
    finally:
        _set(net, changes, 0)
    return moved.movements.moves


def _set(net: nn.Module, changes: dict[str, dict[str, tuple[float, float]]], which: int) -> None:
    for path, values in changes.items():
        for name, both in values.items():
            setattr(net.get_submodule(path), name, both[which])


def is_seen(net: nn.Module, trace: Trace, run: ReferenceRun, judged: set[str], path: str) -> bool:
    """Tell whether the outputs of `path`, which is not judged, reach anything that is."""
    return any(disturbed_by(net, trace, run, judged, path).values())


def disturbed_by(
    net: nn.Module, trace: Trace, run: ReferenceRun, judged: set[str], path: str
) -> Movements:
    """Return how far tensors of `judged` move when the outputs of `path` are others."""
    forward_only = ReferenceRun(run.args, run.kwargs)
    moved = DisturbedRun(trace, judged, forward_only, units=0.0, disturbed=path)
    with state_kept(net):
        moved.run_net(net)
    return moved.movements.moves
