"""Tensors of a run as arrays that share their memory, where nothing writes into them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from align.arrays.arrays_torch import to_array
from align.record.trace import Cotangent
from common.nets import members

ALL = -1  # every tensor


class KeptTensors:
    """Tensors kept as arrays: by reference, or as copies where something writes into them.

    The tensors of a run are numbered in the order in which they are kept; those in `copied` are
    copied. What shares memory with a parameter or a buffer is copied always.
    """

    def __init__(self, net: nn.Module, copied: set[int]) -> None:
        self.copied = copied
        self.count = 0
        self.lent: dict[int, tuple[int, torch.Tensor, int]] = {}
        self.lost: set[int] = set()
        self.all_written = ALL in copied
        self.busy = False
        self.owned = {
            _memory(tensor) for tensor in (*members.parameters(net), *members.buffers(net))
        }
        self.copies: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def keep(self, tensor: torch.Tensor) -> tuple[Any, bool]:
        """Return the values of `tensor` as an array, and whether they are a copy."""
        number, self.count = self.count, self.count + 1
        self.busy = True
        try:
            if self.all_written or number in self.copied or self.is_owned(tensor):
                return self._copy(tensor), True
            array = to_array(tensor)
            self.lent[id(array)] = number, tensor.detach(), tensor._version
            return array, False
        finally:
            self.busy = False

    def is_owned(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor shares memory with a parameter or a buffer."""
        return _memory(tensor) in self.owned

    def written(self) -> set[int]:
        """Return the numbers of the tensors that something wrote into after they were kept."""
        lent = self.lent.values()
        found = {number for number, tensor, version in lent if tensor._version != version}
        return self.lost | found | ({ALL} if self.all_written and ALL not in self.copied else set())

    def release(self, array: Cotangent) -> None:
        """Let go of an array."""
        number, tensor, version = self.lent.pop(id(array), (0, None, 0))
        if tensor is not None and tensor._version != version:
            self.lost.add(number)

    def drawn(self, values: np.ndarray) -> Any:
        """Return what stands for random numbers, which are a copy."""
        return values

    def values(self, kept: Sequence[Any]) -> list[np.ndarray]:
        """Return the arrays that `keep` gave something for."""
        return list(kept)

    def escaped(self, tensor: torch.Tensor) -> None:
        """Note that code reaches the memory of a tensor of the run past its counter of writes."""
        if not self.busy and not isinstance(tensor, nn.Parameter):
            self.all_written = True

    def _copy(self, tensor: torch.Tensor) -> np.ndarray:
        """Return a copy; the same tensor, unchanged, gives the same array again."""
        owner = tensor if tensor._base is None else tensor._base
        if not _is_whole(tensor, owner):
            return to_array(tensor).copy()
        kept = self.copies.get(owner)
        if kept is None or kept[0] != owner._version:
            kept = self.copies[owner] = (owner._version, to_array(tensor).copy())
        return kept[1]


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _is_whole(tensor: torch.Tensor, owner: torch.Tensor) -> bool:
    """Tell whether a view shows all of its owner as it is (views share the version counter)."""
    return (
        tensor.shape == owner.shape
        and tensor.stride() == owner.stride()
        and tensor.storage_offset() == owner.storage_offset()
        and tensor.dtype == owner.dtype
    )
