"""The discrete steps that code of the port takes, by the operators of Paddle that it calls."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import paddle

from align.arrays.arrays_paddle import is_tensor, to_array
from align.force.choices.watched_paddle import PaddleOperator, operators_watched
from align.record.choices.choice import (
    COMPARISONS,
    MOST_VALUES,
    Choice,
    as_function_gave,
    comparison,
    order,
)

# {operator: its arguments in order}, of those that say places.
ORDERS = {
    "argsort": ("x", "axis", "descending", "stable"),
    "topk": ("x", "k", "axis", "largest", "sorted"),
    "argmax": ("x", "axis", "keepdim", "flatten", "dtype"),
    "argmin": ("x", "axis", "keepdim", "flatten", "dtype"),
}
NAMES = frozenset((*ORDERS, *COMPARISONS))

Next = Callable[[Choice], np.ndarray | None]


def asked(answer: Next) -> AbstractContextManager[None]:
    """Ask `answer` after each discrete step of code what it gives; None leaves it what it is."""

    def call(name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        own = _read(name, args, kwargs, result)
        given = None if own is None else answer(own)
        return result if given is None else _given(name, args, kwargs, result, given)

    return operators_watched(_functions(), call)


def _functions() -> Iterator[PaddleOperator]:
    """Yield each operator and each sign of tensors."""
    for name in sorted(NAMES):
        for holder, attribute in ((paddle._C_ops, name), (paddle.Tensor, f"__{name}__")):
            function = getattr(holder, attribute, None)
            if callable(function) and not (holder is paddle.Tensor and name in ORDERS):
                yield PaddleOperator(holder, attribute, name, function)


def _read(name: str, args: tuple, kwargs: dict[str, Any], result: Any) -> Choice | None:
    """Return what an operator chose; None where it chose nothing, as of whole numbers."""
    if name in COMPARISONS:
        sides = [*args, *kwargs.values()][:2]
        if not is_tensor(result) or result.dtype != paddle.bool or len(sides) < 2:
            return None
        arrays = [_side(value) for value in sides]
        kinds = {array.dtype.kind for array in arrays}
        if "f" not in kinds or not kinds <= set("fiub") or _is_large(*arrays):
            return None
        return comparison(name, arrays[0], arrays[1], result.numpy())
    said = {**dict(zip(ORDERS[name], args, strict=False)), **kwargs}
    scores, places = said["x"], result[1] if isinstance(result, (tuple, list)) else result
    if not is_tensor(places) or scores.dtype not in _FLOATING or not scores.ndim:
        return None
    array = to_array(scores)
    if _is_large(array) or said.get("sorted") is False:
        return None
    return order(name, array, to_array(places), _axis(name, said), _largest(name, said))


_FLOATING = (paddle.float32, paddle.float64)


def _axis(name: str, said: dict[str, Any]) -> int | None:
    """Return the axis along which an operator chooses; None where it looks at all values."""
    axis = said.get("axis")
    if name in ("argmax", "argmin") and (axis is None or said.get("flatten")):
        return None
    return -1 if axis is None else int(axis)


def _largest(name: str, said: dict[str, Any]) -> bool:
    """Tell whether the largest score comes first."""
    if name == "argsort":
        return bool(said.get("descending", False))
    return bool(said.get("largest", True)) if name == "topk" else name == "argmax"


def _given(name: str, args: tuple, kwargs: dict[str, Any], result: Any, choice: np.ndarray) -> Any:
    """Return `result` of an operator with the places, or decisions, of `choice`."""
    if name in COMPARISONS:
        return paddle.to_tensor(as_function_gave(name, choice))
    said = {**dict(zip(ORDERS[name], args, strict=False)), **kwargs}
    places, axis = result[1] if isinstance(result, (tuple, list)) else result, _axis(name, said)
    back = choice if axis is None else np.moveaxis(choice, -1, axis)
    index = paddle.to_tensor(np.ascontiguousarray(back)).astype(places.dtype)
    given = index.reshape(places.shape)
    if not isinstance(result, (tuple, list)):
        return given
    return paddle.take_along_axis(said["x"], index, axis).reshape(places.shape), given


def _side(value: Any) -> np.ndarray:
    return to_array(value) if is_tensor(value) else np.asarray(value)


def _is_large(*arrays: np.ndarray) -> bool:
    return max(array.size for array in arrays) > MOST_VALUES
