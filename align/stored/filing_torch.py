"""Tensors of a run written to files as they come: none is held for the recording's sake."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.arrays_torch import to_array
from align.record.kept_tensors_torch import KeptTensors
from align.record.trace import Call, Cotangent, OnDisk
from align.stored.arrays import ArrayWriter


class Filing(KeptTensors):
    """Gives an `OnDisk` for each tensor, whose values go to `writer` as they are at that moment.

    No run is repeated where code writes into a tensor afterwards; that it did is known at the end.
    """

    def __init__(self, net: nn.Module, writer: ArrayWriter) -> None:
        super().__init__(net, set())
        self.writer = writer
        self.counters: dict[OnDisk, tuple[torch.Tensor, int]] = {}

    def keep(self, tensor: torch.Tensor) -> tuple[OnDisk, bool]:
        """Return what stands for `tensor`, and whether it shares memory with the net."""
        self.busy = True
        try:
            filed = self.drawn(to_array(tensor))
            if self.is_owned(tensor):
                return filed, True
            self.counters[filed] = _counter(tensor), tensor._version
            return filed, False
        finally:
            self.busy = False

    def drawn(self, values: np.ndarray) -> OnDisk:
        """Return what stands for `values`."""
        return OnDisk(self.writer.add(values, copy=True), values.shape, values.dtype)

    def values(self, kept: Sequence[OnDisk]) -> list[np.ndarray]:
        """Return the arrays that `kept` stands for."""
        return [self.writer.read(each.name) for each in kept]

    def note_written(self, call: Call) -> None:
        """Note which tensors of `call` code wrote into after they were filed."""
        tensors: dict[str, Sequence[Any]] = {"input": call.inputs, "output": call.outputs}
        for where, filed in tensors.items():
            for index, each in enumerate(filed):
                counter, version = self.counters.get(each, (None, 0))
                if self.all_written or (counter is not None and counter._version != version):
                    call.written.add(f"{where}:{index}")

    def written(self) -> set[int]:
        """Return the empty set: no recording is spoilt by what code writes later."""
        return set()

    def release(self, array: Cotangent) -> None:
        """Do nothing: nothing is held."""


def _counter(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without values that has the counter of writes of `tensor`."""
    counter = tensor.detach()
    counter.data = counter.new_empty(0)
    return counter
