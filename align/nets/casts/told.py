"""Who is told that code casts to float32, of either framework.

Code that computes in float32 on purpose (`x.float()`, `astype("float32")`, `softmax(dtype=...)`)
does so whatever the net's own type is. In a net in float32 it changes nothing, so in a run in
float64 it follows the run, as default types do: on both sides, and the verdict stays float64's.
That both sides cast, and at the same places, is then compared by itself. Only a comparison with a
number stays one in float32: 0.1 > 0.1 is False there, and float32's 0.1 > 0.1 in float64 is not.
"""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

# Called with whether a gradient flows through the cast (never, where gradients are switched off),
# with its file and line, and with the tensor that is cast.
Told = Callable[[bool, str, Any], None]
OWN = {"torch", "paddle", "align"}
# Called with the name and the arguments of an operator of Paddle.
ToldOperator = Callable[[str, tuple, dict[str, Any]], None]
_told_operator: ContextVar[ToldOperator | None] = ContextVar("_told_operator", default=None)
COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
_told: ContextVar[Told | None] = ContextVar("_told", default=None)


@contextmanager
def told_of_casts(told: Told) -> Iterator[None]:
    """Let `told` know of each cast of floating values to float32 which follows the run instead."""
    token = _told.set(told)
    try:
        yield
    finally:
        _told.reset(token)


@contextmanager
def told_of_operators(told: ToldOperator) -> Iterator[None]:
    """Let `told` know of each operator of Paddle that runs."""
    token = _told_operator.set(told)
    try:
        yield
    finally:
        _told_operator.reset(token)


def tell_operator(name: str, args: tuple, kwargs: dict[str, Any]) -> None:
    """Say that an operator of Paddle runs."""
    told = _told_operator.get()
    if told is not None:
        told(name, args, kwargs)


def tell(flows: bool, tensor: Any) -> None:
    """Say that code casts floating values to float32."""
    told = _told.get()
    if told is not None:
        told(flows, _line(), tensor)


@dataclass(frozen=True)
class CastOf:
    """What a call casts: its line, and its values by size, sum of magnitudes, norm and largest.

    `idle`: it may have been made in float32 already, where another cast does nothing.
    """

    line: str
    numbers: tuple[float, float, float, float]
    idle: bool

    def is_same(self, other: "CastOf") -> bool:
        """Tell whether both cast the same values, of either side."""
        return bool(np.allclose(self.numbers, other.numbers, rtol=1e-6, atol=0.0))


def cast_of(line: str, values: np.ndarray, idle: bool) -> CastOf:
    """Return what is known of a cast of `values`."""
    size = np.abs(values)
    largest, norm = float(size.max(initial=0.0)), float(np.sqrt((size * size).sum()))
    return CastOf(line, (float(size.size), float(size.sum()), norm, largest), idle)


def is_rounded(number: Any) -> bool:
    """Tell whether `number` is one that float32 holds as another."""
    return type(number) is float and math.isfinite(number) and float(np.float32(number)) != number


def _line() -> str:
    """Return file and line of the code of a net that runs."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in OWN:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
