"""Which calls cut a tensor into pieces that are written into later: Paddle's are copies."""

import weakref
from collections.abc import Sequence
from typing import Any

import torch

from port.record.facts import CUTTING, SeenCall

Extent = tuple[int, int]  # the first byte of a tensor's values, and the one behind its last


class CutTensors:
    """The pieces that were cut so far, by the memory that they lie in."""

    def __init__(self) -> None:
        self.by_memory: dict[int, list[_Pieces]] = {}

    def cut(self, seen: SeenCall, whole: Any, pieces: Any) -> None:
        """Note what a call cut, where it was one that cuts."""
        if not CUTTING.intersection(seen.names) or not isinstance(pieces, list | tuple):
            return
        if isinstance(whole, torch.Tensor) and all(isinstance(x, torch.Tensor) for x in pieces):
            memory = whole.untyped_storage().data_ptr()
            kept = [one for one in self.by_memory.get(memory, []) if one.live()]
            self.by_memory[memory] = [*kept, _Pieces(seen, whole, pieces)]

    def written(self, tensor: torch.Tensor) -> None:
        """Note that a tensor is written into: a piece, or a part of one."""
        if not self.by_memory or tensor.layout != torch.strided:
            return
        for one in self.by_memory.get(tensor.untyped_storage().data_ptr(), ()):
            if one.live() and one.holds(tensor):
                one.seen.pieces_written = True


class _Pieces:
    """What one call cut; it holds none of the tensors."""

    def __init__(self, seen: SeenCall, whole: torch.Tensor, pieces: Sequence[torch.Tensor]) -> None:
        self.seen = seen
        self.tensors = [weakref.ref(one) for one in (whole, *pieces)]
        self.extents = [_extent(one) for one in pieces]

    def live(self) -> bool:
        """Tell whether a tensor is left of those of the call: the memory may be another's now."""
        return any(one() is not None for one in self.tensors)

    def holds(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor lies in one of the pieces."""
        begin, end = _extent(tensor)
        return any(first <= begin and end <= last for first, last in self.extents)


def _extent(tensor: torch.Tensor) -> Extent:
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    length = 1 + sum((size - 1) * stride for size, stride in sizes) if tensor.numel() else 0
    begin = tensor.data_ptr()
    return begin, begin + length * tensor.element_size()
