"""Which modules write into a tensor that code outside of them reads afterwards."""

import weakref
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from align.arrays.arguments import Forward
from align.arrays.arrays_torch import is_tensor
from align.arrays.trees import leaves, map_leaves

# What gives a tensor's values away and returns no tensor.
READS = (
    *("item", "tolist", "numpy", "equal", "allclose", "is_nonzero"),
    *("__array__", "__bool__", "__float__", "__int__", "__index__", "__contains__"),
)


@dataclass(eq=False)
class _Holder:
    """One tensor object that shows some memory.

    It came of `source`, at the boundary of the module `crossed` where that is given; `seen` counts
    the writes into the memory that autograd knows to be in it.
    """

    memory: int
    seen: int
    source: "_Holder | None" = None
    crossed: str | None = None

    def chain(self) -> Iterator["_Holder"]:
        """Yield it and all that it came of."""
        holder: _Holder | None = self
        while holder is not None:
            yield holder
            holder = holder.source


class WatchWrites(TorchFunctionMode):
    """Finds the modules between a write and the code that reads what was written over.

    Every module gets and returns tensors that share their memory and are objects of their own, as
    in a recording with a backward pass. There the graph of one object knows nothing of a write
    into the other: of the modules in `found` no boundary can be recorded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.holders: dict[int, tuple[weakref.ref, _Holder]] = {}
        self.writes: defaultdict[int, list[_Holder]] = defaultdict(list)
        self.busy = False

    def wrap(self, path: str, module: nn.Module, forward: Forward) -> Forward:
        """Return `forward` of the module at `path` with objects of their own at its boundary."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = self._cross((args, kwargs), path)
            return self._cross(forward(*args, **kwargs), path)

        return watched

    def _cross(self, tree: Any, path: str) -> Any:
        def cross(leaf: Any) -> Any:
            if not is_tensor(leaf) or isinstance(leaf, nn.Parameter):
                return leaf
            holder = self._holder(leaf)
            self._reads(holder)
            own = leaf.detach()
            self._add(own, _Holder(holder.memory, holder.seen, holder, path))
            return own

        self.busy = True
        try:
            return map_leaves(tree, cross)
        finally:
            self.busy = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.busy:
            return func(*args, **kwargs)
        given = [leaf for leaf in leaves((args, kwargs)) if is_tensor(leaf)]
        versions = [_version(tensor) for tensor in given]
        result = func(*args, **kwargs)
        made = [leaf for leaf in leaves(result) if is_tensor(leaf)]
        pairs = zip(given, versions, strict=True)
        written = [tensor for tensor, version in pairs if _version(tensor) != version]
        if _is_read(getattr(func, "__name__", ""), bool(made)):
            for tensor in given:
                if _memory(tensor) in self.writes:
                    self._reads(self._holder(tensor))
        for tensor in written:
            self._is_written(self._holder(tensor))
        self._follow(given, made)
        return result

    def _follow(self, given: list[torch.Tensor], made: list[torch.Tensor]) -> None:
        """Note which results are views of what a function was given."""
        sources = {_memory(tensor): tensor for tensor in reversed(given)}
        for tensor in made:
            source = sources.get(_memory(tensor))
            if source is None or any(tensor is other for other in given):
                continue
            holder = self._holder(source)
            self._add(tensor, _Holder(holder.memory, holder.seen, holder))

    def _holder(self, tensor: torch.Tensor) -> _Holder:
        reference, holder = self.holders.get(id(tensor), (None, None))
        if holder is not None and reference is not None and reference() is tensor:
            return holder
        memory = _memory(tensor)
        return self._add(tensor, _Holder(memory, len(self.writes.get(memory, ()))))

    def _add(self, tensor: torch.Tensor, holder: _Holder) -> _Holder:
        self.holders[id(tensor)] = weakref.ref(tensor), holder
        return holder

    def _is_written(self, holder: _Holder) -> None:
        writes = self.writes[holder.memory]
        writes.append(holder)
        holder.seen = len(writes)

    def _reads(self, holder: _Holder) -> None:
        """Find the modules between `holder`, which is read, and what was written into since."""
        writes = self.writes.get(holder.memory, [])
        missed, holder.seen = writes[holder.seen :], len(writes)
        for written in missed:
            both = set(holder.chain()) & set(written.chain())
            for side in (holder, written):
                apart = (each for each in side.chain() if each not in both)
                self.found.update(each.crossed for each in apart if each.crossed)


def _is_read(name: str, gives_tensors: bool) -> bool:
    if name.endswith("_like") or name.startswith("new_"):
        return False
    return gives_tensors or name in READS


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _memory(tensor: torch.Tensor) -> int:
    if tensor.layout is not torch.strided or not tensor.numel():
        return -id(tensor)
    return tensor.untyped_storage().data_ptr()
