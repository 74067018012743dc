"""Records the steps of a function's code: every call of the framework, with its values."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from align.causes.steps import CodeStep, Steps, Value, value_of
from align.judge.words import Words

# Functions that leave the values what they are: their result is their operand.
MOVES = frozenset(
    (
        *("view", "reshape", "permute", "transpose", "t", "contiguous", "clone", "flatten"),
        *("unflatten", "unsqueeze", "squeeze", "expand", "expand_as", "repeat", "tile", "detach"),
        *("broadcast_to", "to", "type", "type_as", "astype", "cast", "float", "double", "movedim"),
        *("moveaxis", "swapaxes", "swapdims", "assign", "view_as", "reshape_as"),
    )
)


# Code that calls more functions than this is not taken down to its end; nor are more bytes kept.
MOST_STEPS, MOST_BYTES = 5000, 1 << 29


REVERSED = frozenset(("rsub", "rtruediv", "rdiv", "rmatmul", "rpow"))


class Recorder(ABC):
    """Takes down the steps of one call. Subclasses say what a framework's tensors are.

    `named` are tensors that need no maker, by identity. `kept` are those seen, so that no other
    takes the identity of one.
    """

    def __init__(self, named: Mapping[int, str] | None = None) -> None:
        self.named = named or {}
        self.found = Steps()
        self.kept: list[Any] = []
        self.values: dict[tuple[int, int], Value] = {}
        self.room = MOST_BYTES

    @abstractmethod
    def read(self, tensor: Any) -> tuple[np.ndarray, bool, int]:
        """Return (values, whether gradients flow to it, how often it was written into)."""

    @abstractmethod
    def is_tensor(self, value: Any) -> bool:
        """Tell whether `value` is a tensor of the framework."""

    def value(self, tensor: Any, origin: Value | None = None) -> Value:
        """Return what is known of a tensor."""
        array, flows, version = self.read(tensor)
        key = id(tensor), version
        if key not in self.values or origin is not None:
            self.kept.append(tensor)
            self.room -= array.nbytes
            self.values[key] = value_of(array, flows, origin, keep=self.room > 0)
            if id(tensor) in self.named:
                name = Words.told(self.named[id(tensor)])
                self.found.names.append((name, self.values[key]))
        return self.values[key]

    def name(self, name: Words, tensor: Any) -> None:
        """Note a tensor that the code gets."""
        self.found.names.append((name, self.value(tensor)))

    def operands(self, args: Any, kwargs: Any) -> tuple[list[Value], tuple[str, ...]]:
        """Return the tensors among the arguments, and the others in words."""
        found: list[Value] = []
        if not self.found.whole:
            return found, ()
        said = [w for w in (self._operand(v, found) for v in args) if w]
        for name, value in kwargs.items():
            words = self._operand(value, found)
            if words and name not in ("name", "out", "inplace"):
                said.append(f"{name}={words}")
        return found, tuple(said)

    def _operand(self, value: Any, found: list[Value]) -> str:
        if self.is_tensor(value):
            found.append(self.value(value))
            return ""
        if isinstance(value, (list, tuple)) and any(self.is_tensor(v) for v in value):
            return ", ".join(filter(None, (self._operand(v, found) for v in value)))
        if isinstance(value, (list, tuple)):
            value = list(value)  # a size of either framework
        return "" if value is None else str(value)[:60]

    def step(
        self,
        function: str,
        operands: list[Value],
        said: tuple[str, ...],
        results: Any,
        meant: Mapping[str, Any],
    ) -> None:
        """Note that a function was called; `meant` are its settings."""
        results = results if isinstance(results, (list, tuple)) else [results]
        tensors = [result for result in results if self.is_tensor(result)]
        self.found.whole = self.found.whole and len(self.found.steps) < MOST_STEPS
        if not tensors or not self.found.whole:
            return
        if function.strip("_") in MOVES and operands:
            for tensor in tensors:
                self.value(tensor, operands[0])
            return
        if function.strip("_") in REVERSED:
            operands = operands[::-1]
        made = [self.value(tensor) for tensor in tensors]
        self.found.steps.append(CodeStep(function, said, operands, made, meant))
