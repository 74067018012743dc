"""Tables of sines, positions, anchors that one side stores, and the other side computes.

What code computes from constants follows a run in float64, and no longer has the rounding of
float32, in which the other side's table was computed. Such a table stands in for the
computed one where float32's rounding alone tells the two apart.
"""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

EPS32 = float(np.finfo(np.float32).eps)
# So many units of float32 between two ways to compute a value of the largest magnitude; for each
# place along the longest axis one more: the angle of the n-th position is n times one of another.
UNITS = 4
MOVES = frozenset(("to", "type_as", "type"))  # the result is the first tensor's, of another type


@dataclass
class GivenTable:
    """One table, without axes of one entry; `error` is how far what it stood for was off.

    is_held: asked while the other side runs; what a run has written anew was no table.
    """

    name: str
    values: np.ndarray
    error: float = 0.0
    is_held: Callable[[], bool] = lambda: True


class TableGiver(ABC):
    """Puts `tables` in the place of what code of the other side computes of constants.

    `own` are tables that the computing side holds itself: they are constants, too, and so are whole
    numbers. Subclasses say what a framework's tensors are.
    """

    def __init__(self, tables: Sequence[GivenTable]) -> None:
        self.tables = list(tables)
        self.own: dict[int, Any] = {}
        self.constants: dict[int, weakref.ref] = {}  # by id: what code made of constants alone
        self.busy = False

    @abstractmethod
    def is_tensor(self, value: Any) -> bool:
        """Tell whether `value` is a tensor."""

    @abstractmethod
    def is_whole(self, tensor: Any) -> bool:
        """Tell whether a tensor holds whole numbers."""

    @abstractmethod
    def values(self, tensor: Any) -> np.ndarray | None:
        """Return the values of a tensor of float64 through which no gradient flows, or None."""

    @abstractmethod
    def like(self, values: np.ndarray) -> Any:
        """Return a tensor with these values."""

    @abstractmethod
    def fill(self, tensor: Any, values: np.ndarray) -> None:
        """Write values into a tensor."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Look at nothing that runs in the block."""
        before, self.busy = self.busy, True
        try:
            yield
        finally:
            self.busy = before

    def made(self, name: str, args: Any, kwargs: Any, result: Any) -> Any:
        """Return the result of a function that ran, or the table that it stands for."""
        if self.busy:
            return result
        with self.paused():
            tensors = list(self._tensors((args, kwargs)))
            read = tensors[:1] if name in MOVES else tensors
            constant = all(map(self._is_constant, read))
            writes = bool(tensors) and (result is None or result is tensors[0])
            if writes:
                self._mark(tensors[0], constant)
                table = self._table_for(tensors[0]) if constant else None
                if table is not None:
                    self.fill(tensors[0], table)
                return result
            return self._given(result) if constant else result

    def _given(self, result: Any) -> Any:
        """Mark what a function made of constants; return it, or what is given instead."""
        if isinstance(result, (list, tuple)):
            for each in self._tensors(result):
                self._mark(each, True)
            return result
        if not self.is_tensor(result):
            return result
        table = self._table_for(result)
        result = result if table is None else self.like(table)
        self._mark(result, True)
        return result

    def _is_constant(self, tensor: Any) -> bool:
        known = self.constants.get(id(tensor))
        if known is not None and known() is tensor:
            return True
        return id(tensor) in self.own or self.is_whole(tensor)

    def _mark(self, tensor: Any, constant: bool) -> None:
        """Note of a tensor of a run whether it is made of constants alone."""
        if constant:
            self.constants[id(tensor)] = weakref.ref(tensor)
        else:
            self.constants.pop(id(tensor), None)

    def _tensors(self, tree: Any) -> Iterator[Any]:
        for value in tree.values() if isinstance(tree, dict) else tree:
            if isinstance(value, (list, tuple, dict)):
                yield from self._tensors(value)
            elif self.is_tensor(value):
                yield value

    def _table_for(self, tensor: Any) -> np.ndarray | None:
        """Return the table's values that a tensor stands for, in its shape."""
        shape = _squeezed(tensor.shape)
        for table in self.tables:
            if not _begins(shape, table.values.shape) or not table.is_held():
                continue
            values = self.values(tensor)
            part = table.values[tuple(map(slice, shape))]
            error = 0.0 if values is None else rounding_apart(part, values.reshape(shape))
            if error:
                table.error = max(table.error, error)
                return part.reshape(tuple(tensor.shape))
        return None


def given_table(name: str, values: np.ndarray) -> GivenTable | None:
    """Return a table that may be given; None of values that float32 does not hold, or of one."""
    values = values.reshape(_squeezed(values.shape))
    return GivenTable(name, values) if values.size > 1 and is_float32(values) else None


def _squeezed(shape: Any) -> tuple[int, ...]:
    return tuple(int(length) for length in shape if length != 1)


def _begins(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Tell whether something of `shape` may be the beginning of a table, along one axis."""
    if len(shape) != len(whole) or not shape:
        return False
    shorter = [(a, b) for a, b in zip(shape, whole, strict=True) if a != b]
    return len(shorter) <= 1 and all(a < b for a, b in shorter)


def is_float32(values: np.ndarray) -> bool:
    """Tell whether float32 holds every one of `values`, all finite."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32).astype(values.dtype)
    return bool(np.isfinite(values).all() and (rounded == values).all())


def rounding_apart(held: np.ndarray, computed: np.ndarray) -> float:
    """Return how far two tables are apart, 0 where they are equal or no rounding explains it."""
    scale = float(np.abs(held).max(initial=0.0))
    error = float(np.abs(held - computed).max(initial=0.0))
    units = UNITS + max(held.shape, default=0)
    return error / scale if 0.0 < error <= units * EPS32 * scale else 0.0
