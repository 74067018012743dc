"""Lets float32 that code of Paddle asks for be the float64 of the run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import paddle
from paddle import _C_ops
from paddle.base import core
from paddle.tensor import creation

from align.arrays.arrays_paddle import to_array
from align.nets.casts.given_tables import TableGiver
from align.nets.casts.told import COMPARISONS, is_rounded, tell, tell_operator

# As it is, whatever stands in its place: for the code around a run.
cast = _C_ops.cast

# Signs that hold a number in float32.
HELD_ADDITIONS = ("add", "radd", "sub", "rsub") if paddle.__version__ < "3" else ()

_WIDE: dict[Any, Any] = {
    "float32": "float64",
    "complex64": "complex128",
    np.float32: np.float64,
    np.complex64: np.complex128,
    core.VarDesc.VarType.FP32: core.VarDesc.VarType.FP64,
    core.VarDesc.VarType.COMPLEX64: core.VarDesc.VarType.COMPLEX128,
    paddle.float32: paddle.float64,
    paddle.complex64: paddle.complex128,
}
_KINDS = {type(name) for name in _WIDE} | {np.dtype}
_NARROW, _FLOATING = (paddle.float32, paddle.complex64), (paddle.float64, paddle.complex128)


# What tensors do without an operator that is called by name.
METHODS = (
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "div", "rdiv"),
    *("pow", "rpow", "matmul", "mod", "floordiv", "neg", "getitem", "setitem"),
)
# What makes numbers with a point of whole ones: in float32 always, and torch in the default type.
PROMOTING = (
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "div", "rdiv"),
    *("pow", "rpow", "mod", "floordiv"),
)
PROMOTING_OPERATORS = frozenset(
    (
        *("sqrt", "rsqrt", "exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan"),
        *("sinh", "cosh", "tanh", "asin", "atan", "sigmoid", "reciprocal", "erf", "lgamma"),
        *("digamma", "divide", "atan2"),
    )
)


class PaddleTables(TableGiver):
    """Of Paddle's tensors."""

    def is_tensor(self, value: Any) -> bool:
        """See `TableGiver`."""
        return isinstance(value, paddle.Tensor)

    def is_whole(self, tensor: Any) -> bool:
        """See `TableGiver`."""
        return "int" in str(tensor.dtype) or tensor.dtype == paddle.bool

    def values(self, tensor: Any) -> np.ndarray | None:
        """See `TableGiver`."""
        return tensor.numpy() if tensor.dtype == paddle.float64 and tensor.stop_gradient else None

    def like(self, values: np.ndarray) -> Any:
        """See `TableGiver`."""
        return paddle.to_tensor(values)

    def fill(self, tensor: Any, values: np.ndarray) -> None:
        """See `TableGiver`."""
        tensor.set_value(np.ascontiguousarray(values))


@contextmanager
def follows_run(tables: PaddleTables | None = None) -> Iterator[None]:
    """Around a run in float64: float32 that code asks for, or makes, becomes float64.

    All functions of Paddle call its operators by name, with the type that was asked for. `tables`
    are given to code that computes them.
    """
    with _follows_run(), nullcontext() if tables is None else _gives(tables):
        yield


@contextmanager
def _gives(tables: PaddleTables) -> Iterator[None]:
    """Show `tables` what every operator and method of tensors gives."""
    places = [(_C_ops, n) for n, f in vars(_C_ops).items() if callable(f) and n[:1] != "_"]
    places.append((creation, "_to_tensor_non_static"))
    places += [(paddle.Tensor, name) for name in map("__{}__".format, METHODS)]
    functions = [(home, name, getattr(home, name)) for home, name in places if hasattr(home, name)]
    try:
        for home, name, function in functions:
            setattr(home, name, _giving(name, function, tables))
        yield
    finally:
        for home, name, function in functions:
            setattr(home, name, function)


def _giving(name: str, function: Callable[..., Any], tables: PaddleTables) -> Callable[..., Any]:
    def given(*args: Any, **kwargs: Any) -> Any:
        return tables.made(name, args, kwargs, function(*args, **kwargs))

    return given


@contextmanager
def _follows_run() -> Iterator[None]:
    operators = {n: f for n, f in vars(_C_ops).items() if callable(f) and not n.startswith("_")}
    made = creation._to_tensor_non_static
    wraps = ((_comparing, COMPARISONS), (_adding, HELD_ADDITIONS), (_promoting, PROMOTING))
    signs = [
        (name, getattr(paddle.Tensor, name), wrap)
        for wrap, words in wraps
        for name in map("__{}__".format, words)
        if hasattr(paddle.Tensor, name)
    ]
    try:
        for name, _, wrap in signs:
            setattr(paddle.Tensor, name, wrap(getattr(paddle.Tensor, name)))
        for name, function in operators.items():
            setattr(_C_ops, name, _following(name, function))
        creation._to_tensor_non_static = _following("to_tensor", made)
        yield
    finally:
        creation._to_tensor_non_static = made
        for name, function, _ in signs:
            setattr(paddle.Tensor, name, function)
        for name, function in operators.items():
            setattr(_C_ops, name, function)


def _following(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    writes = name.endswith("_")
    if name in PROMOTING_OPERATORS:
        function = _promoting(function)

    def followed(*args: Any, **kwargs: Any) -> Any:
        tell_operator(name, args, kwargs)
        asks = False
        for value in args:
            asks = asks or (type(value) in _KINDS and _is_narrow(value))
        if asks or (kwargs and any(map(_is_narrow, kwargs.values()))):
            args = tuple(map(_wide, args))
            kwargs = {key: _wide(value) for key, value in kwargs.items()}
            result = function(*args, **kwargs)
            if args and _is_wide(args[0]) and _is_wide(result):
                tell(not result.stop_gradient, args[0])
        else:
            result = function(*args, **kwargs)
        if not writes and type(result) is paddle.Tensor and result.dtype in _NARROW:
            stop = result.stop_gradient
            result = cast(result, _WIDE[result.dtype])
            result.stop_gradient = stop
        return result

    return followed


def _comparing(function: Callable[..., Any]) -> Callable[..., Any]:
    def compared(self: paddle.Tensor, other: Any) -> Any:
        if is_rounded(other) and self.dtype == paddle.float64:
            self = cast(self, paddle.float32)
        return function(self, other)

    return compared


def _adding(function: Callable[..., Any]) -> Callable[..., Any]:
    """Signs call no operator by name."""

    def added(self: paddle.Tensor, other: Any) -> Any:
        result = function(self, other)
        if is_rounded(other) and self.dtype == paddle.float64 and self.size:
            off = abs(float(np.float32(other)) - other)
            largest = abs(to_array(result)).max()
            tell_operator("number added", (float(off / largest) if largest else 1.0,), {})
        return result

    return added


def _promoting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let what makes float32 of whole numbers make float64 of them."""

    def promoted(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        narrow = type(result) is paddle.Tensor and result.dtype == paddle.float32
        if narrow and any(map(_is_whole, args)) and not any(map(_is_float, args)):
            args = tuple(cast(one, paddle.float64) if _is_whole(one) else one for one in args)
            return function(*args, **kwargs)
        return result

    return promoted


def _is_whole(value: Any) -> bool:
    return isinstance(value, paddle.Tensor) and value.dtype not in (*_NARROW, *_FLOATING)


def _is_float(value: Any) -> bool:
    return isinstance(value, paddle.Tensor) and not _is_whole(value)


def _is_narrow(value: Any) -> bool:
    return type(value) in _KINDS and _key(value) in _WIDE


def _wide(value: Any) -> Any:
    return _WIDE[_key(value)] if _is_narrow(value) else value


def _key(value: Any) -> Any:
    return value.name if isinstance(value, np.dtype) else value


def _is_wide(value: Any) -> bool:
    return isinstance(value, paddle.Tensor) and value.dtype in _FLOATING
