"""What else the reference's criterion chooses when its outputs move in their last places."""

from typing import Any

import numpy as np
import torch

from align.arrays.arrays_torch import is_tensor, to_array
from align.arrays.trees import leaves, map_leaves
from align.judge.compare import UNITS
from align.record.trace import Call, Slot
from align.rounding.noise_torch import Noise

TRIES = 32  # a choice between two is seen both ways but once in 2 ** 31


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
