"""Tensors of a run written to files as they come: none is held for the recording's sake."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from align.arrays_torch import to_array
from align.kept_torch import ALL, Kept
from align.trace import Cotangent, Filed
from align.trace_arrays import ArrayWriter


class Filing(Kept):
    """Gives a `Filed` for each tensor, whose values go to `writer` as they are at that moment.

    So nothing need be known of what code writes into tensors afterwards, and no run is repeated.
    """

    def __init__(self, net: nn.Module, writer: ArrayWriter) -> None:
        super().__init__(net, {ALL})
        self.writer = writer

    def keep(self, tensor: torch.Tensor) -> tuple[Filed, bool]:
        """Return what stands for `tensor`, and that it is a copy."""
        return self.drawn(to_array(tensor)), True

    def drawn(self, values: np.ndarray) -> Filed:
        """Return what stands for `values`."""
        return Filed(self.writer.add(values, copy=True), values.shape, values.dtype)

    def values(self, kept: Sequence[Filed]) -> list[np.ndarray]:
        """Return the arrays that `kept` stands for."""
        return [self.writer.read(each.name) for each in kept]

    def written(self) -> set[int]:
        """Return the empty set: no recording is spoilt by what code writes later."""
        return set()

    def release(self, array: Cotangent) -> None:
        """Do nothing: nothing is held."""
