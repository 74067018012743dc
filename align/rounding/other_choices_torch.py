"""What else the reference chooses when all that it is given moves in its last places."""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import torch

from align.arrays.arrays_torch import is_tensor, to_array
from align.arrays.distances import magnitude
from align.arrays.trees import leaves, map_leaves
from align.judge.compare import NOTHING_LEFT, UNITS
from align.judge.where import Where
from align.nets.prepare_torch import state_kept
from align.record.draws import CallKey
from align.record.recording_torch import ReferenceRun
from align.record.trace import Call, CallPlace, Slot, Trace, around
from align.rounding.disturbed_run_torch import DisturbedRun
from align.rounding.noise_torch import Noise

TRIES = 32  # a choice between two is seen both ways but once in 2 ** 31
RUNS = 8  # of the whole net, where a tensor differs that may hang on a choice


def other_choices(assignment: Any, call: Call, index: int) -> list[np.ndarray]:
    """Return what output `index` of a call of `assignment` comes to in `TRIES` disturbed runs.

    assignment: the module of the reference, run by itself on the recorded inputs, every one moved
    by as many units in the last place as a healthy port may be off.
    """
    found = []
    for seed in range(TRIES):
        noise = Noise(UNITS, seed)

        def moved(leaf: Any, noise: Noise = noise) -> Any:
            if not isinstance(leaf, Slot):
                return leaf
            return noise.jitter(torch.from_numpy(np.array(call.inputs[leaf.index])))

        args, kwargs = map_leaves(call.arguments, moved)
        tensors = [leaf for leaf in leaves(assignment.forward(*args, **kwargs)) if is_tensor(leaf)]
        if index < len(tensors):
            found.append(to_array(tensors[index]))
    return found


def chosen_otherwise(
    net: torch.nn.Module,
    trace: Trace,
    run: ReferenceRun,
    judged: set[str],
    given: Collection[tuple[CallKey, int]],
    places: Collection[CallPlace],
) -> set[CallPlace]:
    """Return those of `places` that the reference itself fills with other values, or another shape.

    In up to `RUNS` forced runs in which all moves by as many units in the last place as a healthy
    port may be off. Code comes to choices of its own there, but for those of `given`.
    """
    scales = {place: scale for place in places for scale in _scale(trace, place)}
    keys = {place[:2] for place in scales}
    entered = around(call for call in trace.calls if call.key in keys)
    found: set[CallPlace] = set()
    for seed in range(RUNS if scales else 0):
        forward_only = ReferenceRun(run.args, run.kwargs, label=run.label)
        moved = DisturbedRun(
            trace, judged, forward_only, UNITS, seed=seed, entered=entered, given=given
        )
        with state_kept(net):
            moved.run_net(net)
        moves = moved.movements.moves
        found |= {p for p, scale in scales.items() if moves.get(p, 0.0) > NOTHING_LEFT * scale}
        if len(found) == len(scales):
            break
    return found


def _scale(trace: Trace, place: CallPlace) -> Iterator[float]:
    """Yield the largest magnitude of a recorded tensor, 0 of whole numbers; nothing of none."""
    at = Where.of(place[2])
    for call in (c for c in trace.calls if c.key == place[:2] and at.name.isdigit()):
        arrays = call.inputs if at.kind == "input" else call.outputs
        array = arrays[int(at.name)] if int(at.name) < len(arrays) else None
        if isinstance(array, np.ndarray):
            yield magnitude(array) if array.dtype.kind == "f" else 0.0
