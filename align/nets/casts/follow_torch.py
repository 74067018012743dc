"""Lets float32 that code of torch asks for be the float64 of the run."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from align.nets.casts.given_tables import TableGiver
from align.nets.casts.told import COMPARISONS, is_rounded, tell
from common.places import is_ours

_CFLOAT = torch.Tensor.cfloat  # type: ignore[attr-defined]  # the stubs lack it
WIDE: dict[Any, Any] = {
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
    torch.FloatTensor: torch.DoubleTensor,
    torch.Tensor.float: torch.Tensor.double,
    _CFLOAT: torch.Tensor.cdouble,  # type: ignore[attr-defined]  # the stubs lack it
    "torch.FloatTensor": "torch.DoubleTensor",
}
_NARROW = {torch.float64: torch.float32, torch.complex128: torch.complex64}
_DTYPES = tuple(_NARROW.values())
_CASTS = {torch.Tensor.float, _CFLOAT}
_KINDS = {torch.dtype, type(torch.FloatTensor), str}
_TYPES = frozenset(("to", "type", "type_as", "double"))
CAST, BACK = "align: cast to float32", "align: cast back"  # said of the node that made a tensor
NODES = 300  # of a graph are looked at


_following: list["_FollowsRun"] = []  # those of the runs around which `follows_run` stands


class TorchTables(TableGiver):
    """Of torch's tensors."""

    def is_tensor(self, value: Any) -> bool:
        """See `TableGiver`."""
        return isinstance(value, torch.Tensor)

    def is_whole(self, tensor: Any) -> bool:
        """See `TableGiver`."""
        return not (tensor.is_floating_point() or tensor.is_complex())

    def values(self, tensor: Any) -> np.ndarray | None:
        """See `TableGiver`."""
        floating = tensor.dtype == torch.float64 and not tensor.requires_grad
        return tensor.numpy() if floating else None

    def like(self, values: np.ndarray) -> Any:
        """See `TableGiver`."""
        return torch.tensor(values)

    def fill(self, tensor: Any, values: np.ndarray) -> None:
        """See `TableGiver`."""
        with torch.no_grad():
            tensor.copy_(torch.tensor(values))


@contextmanager
def follows_run(tables: TorchTables | None = None) -> Iterator[None]:
    """Around a run in float64: float32 that code asks for, or makes, becomes float64.

    `tables` are given to code that computes them.
    """
    apply = BackwardCFunction.apply

    def followed(self: Any, *args: Any) -> Any:
        if is_ours(self._forward_cls.forward):
            return apply(self, *args)
        with _FollowsRun():
            return apply(self, *args)

    mode = _FollowsRun() if tables is None else _GivesTables(tables)
    _following.append(mode)
    BackwardCFunction.apply = followed  # type: ignore[method-assign]  # a user's own backward
    try:
        with mode:
            yield
    finally:
        BackwardCFunction.apply = apply  # type: ignore[method-assign]  # and torch's again
        _following.pop()


def in_backward() -> AbstractContextManager:
    """Return what stands around code that runs in a backward pass, where torch drops all modes.

    Code that asked for no float32 until then has run before, and asks for none.
    """
    return _FollowsRun() if _following and _following[-1].asked else nullcontext()


class _FollowsRun(TorchFunctionMode):
    """Gives code float64 where it asks for float32; `asked` tells whether it ever did."""

    asked = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if len(args) == 1 and not kwargs and func not in _CASTS:  # most: x.shape and the like
            return self._wide(func, func(*args))
        kwargs = kwargs or {}
        if len(args) == 2 and is_rounded(args[1]) and _compares(func) and _is_wide(args[0]):
            self.asked = True
            return func(args[0].to(_NARROW[args[0].dtype]), args[1], **kwargs)
        asks = func in _CASTS
        for value in (*args, *kwargs.values()):
            asks = asks or (type(value) in _KINDS and _is_narrow(value))
        if asks:
            self.asked = True
            args = tuple(_wide(value) for value in args)
            kwargs = {name: _wide(value) for name, value in kwargs.items()}
            result = WIDE.get(func, func)(*args, **kwargs)
            if args and _is_wide(args[0]) and _is_wide(result):
                flows = result.requires_grad and torch.is_grad_enabled()
                tell(flows, args[0])
                if flows:
                    result = result.view_as(result) if result is args[0] else result
                    result.grad_fn.metadata[CAST] = True
        else:
            result = func(*args, **kwargs)
            if self.asked and getattr(func, "__name__", "") in _TYPES and _is_wide(result):
                back = result.grad_fn
                if back is not None:
                    back.metadata[BACK] = True
        return self._wide(func, result)

    def _wide(self, func: Any, result: Any) -> Any:
        """Return what `func` gave in float64, where it is float32 and nothing else holds it."""
        if type(result) is torch.Tensor and result.dtype in _DTYPES and not _writes(func):
            self.asked = True
            return result.to(WIDE[result.dtype])
        return result


class _GivesTables(_FollowsRun):
    """Gives code the tables that the other side holds, too."""

    def __init__(self, tables: TorchTables) -> None:
        super().__init__()
        self.tables = tables

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        return self.tables.made(getattr(func, "__name__", ""), args, kwargs or {}, result)


def is_idle(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor was made of one that was cast to float32: another cast does nothing.

    What code cast back in between is of the net's own type again.
    """
    seen: set[Any] = set()
    left: list[Any] = [tensor.grad_fn]
    for node in left:
        if node is None or node in seen or len(seen) > NODES or BACK in node.metadata:
            continue
        seen.add(node)
        if CAST in node.metadata:
            return True
        left += [each for each, _ in node.next_functions]
    return False


def _compares(func: Any) -> bool:
    return getattr(func, "__name__", "").strip("_") in COMPARISONS


def _is_narrow(value: Any) -> bool:
    return type(value) in _KINDS and value in WIDE


def _wide(value: Any) -> Any:
    return WIDE[value] if _is_narrow(value) else value


def _is_wide(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in (torch.float64, torch.complex128)


def _writes(func: Any) -> bool:
    """Tell whether what a function gives may be the very tensor that code goes on to use."""
    return getattr(func, "__name__", "").endswith("_")
