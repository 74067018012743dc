"""What one run of a net gave, in either framework."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class GraphRun:
    """What one run gave.

    Attributes:
        outputs: all tensors that it returned, in order.
        inputs: gradients of the inputs, None where there is none.
        gradients: name of a parameter -> its gradient.
        buffers: name of a buffer -> its values after the run.
        counts: name of a running variance -> how many values of a channel were averaged.
    """

    outputs: list[np.ndarray]
    inputs: list[np.ndarray | None] = field(default_factory=list)
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    buffers: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def score(self, tensors: Sequence[Any], made: Callable[[np.ndarray], Any]) -> Any:
        """Return what is differentiated: all floating outputs, each value times a seeded factor.

        made: makes a tensor of an array. None where no output has a fractional part.
        """
        total = None
        for number, (array, tensor) in enumerate(zip(self.outputs, tensors, strict=True)):
            if array.dtype.kind == "f":
                factors = np.random.default_rng(number).standard_normal(array.shape)
                part = (tensor * made(factors.astype(array.dtype))).sum()
                total = part if total is None else total + part
        return total
