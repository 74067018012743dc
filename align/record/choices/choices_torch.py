"""Notes the discrete steps of the reference's code, and gives them again in another run."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from align.arrays.arrays_torch import is_tensor, to_array
from align.record.choices.choice import (
    COMPARISONS,
    MOST_BYTES,
    MOST_CHOICES,
    MOST_VALUES,
    Choice,
    as_function_gave,
    by_call,
    comparison,
    order,
)
from align.record.draws import CallKey
from align.record.trace import Trace

# {function: its arguments in order}, of those that say places.
ORDERS = {
    "sort": ("input", "dim", "descending"),
    "argsort": ("input", "dim", "descending"),
    "topk": ("input", "k", "dim", "largest", "sorted"),
    "max": ("input", "dim"),
    "min": ("input", "dim"),
    "argmax": ("input", "dim"),
    "argmin": ("input", "dim"),
}
FUNCTIONS = frozenset((*ORDERS, *COMPARISONS))


class NotesChoices:
    """Keeps every discrete step that it is told of in `trace`; `running` gives the calls.

    Of those that it does not keep it notes the module whose code takes them.
    """

    def __init__(self, trace: Trace, running: Callable[[], tuple[CallKey, ...]]) -> None:
        self.choices, self.left = trace.choices, trace.choices_left
        self.running = running
        self.room = MOST_BYTES

    def told(self, name: str, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Note a call of the function `name`, if it is a discrete step."""
        full = self.room <= 0 or len(self.choices) >= MOST_CHOICES
        if full and self._at() in self.left:
            return
        found = read(name, args, kwargs, result)
        if found is None:
            return
        if full or max(a.size for a in found.operands) > MOST_VALUES:
            many = len(self.choices) >= MOST_CHOICES
            self.left[self._at()] = "many" if many else "large"
        else:
            self.room -= found.nbytes
            operands = tuple(map(np.array, found.operands))
            result = np.array(found.result)
            self.choices.append(
                Choice(found.function, found.kind, found.sense, operands, result, self.running())
            )

    def _at(self) -> str:
        """Return the path of the module whose code runs."""
        running = self.running()
        return running[-1][0] if running else ""


class GivesChoices(TorchFunctionMode):
    """Gives each discrete step of a judged call's code what it chose when it was recorded.

    `running` gives the judged call whose code runs; `moved` is told of (call, the number of its
    choice, the choice recorded and the one made now). `only` are those that are given, by call and
    number; None: all.
    """

    def __init__(
        self,
        choices: Iterable[Choice],
        judged: Collection[str],
        running: Callable[[], CallKey | None],
        moved: Callable[[CallKey, int, Choice, Choice], None],
        only: Collection[tuple[CallKey, int]] | None = None,
    ) -> None:
        super().__init__()
        self.left = {key: iter(enumerate(own)) for key, own in by_call(choices, judged).items()}
        self.running = running
        self.moved = moved
        self.only = only

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "").strip("_")
        key = self.running() if name in FUNCTIONS else None
        own = None if key is None else read(name, args, kwargs, result)
        if key is None or own is None:
            return result
        number, recorded = next(self.left.get(key, iter(())), (0, None))
        if recorded is None or not _repeats(recorded, own):
            self.left.pop(key, None)  # its code took another way: nothing more is known
            return result
        self.moved(key, number, recorded, own)
        if self.only is not None and (key, number) not in self.only:
            return result
        return _given(name, args, kwargs, result, recorded)


def _repeats(recorded: Choice, own: Choice) -> bool:
    """Tell whether a step may be what was recorded: of its kind and shapes."""
    return recorded.is_like(own) and recorded.result.shape == own.result.shape


def read(name: str, args: tuple, kwargs: dict[str, Any], result: Any) -> Choice | None:
    """Return what a function chose, sharing its tensors' memory; None where it chose nothing.

    That is so of whole and of complex numbers, and of an order that is not sorted.
    """
    with torch._C.DisableTorchFunction():
        if name in COMPARISONS:
            sides = [_side(value) for value in (*args, *kwargs.values())[:2]]
            decides = is_tensor(result) and result.dtype == torch.bool
            if not decides or len(sides) < 2 or not _floating(sides):
                return None
            return comparison(name, sides[0], sides[1], to_array(result))
        said = _said(name, args, kwargs)
        places = result if is_tensor(result) else getattr(result, "indices", None)
        scores, axis = said.get("input"), _axis(name, said)
        best_alone = name in ("max", "min") and (axis is None or is_tensor(result))
        if best_alone or not (is_tensor(places) and is_tensor(scores)):
            return None
        assert scores is not None
        assert places is not None
        array = to_array(scores)
        if array.dtype.kind != "f" or not array.ndim or said.get("sorted") is False:
            return None
        return order(name, array, to_array(places), axis, _largest(name, said))


def _said(name: str, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a function of `ORDERS` by name."""
    return {**dict(zip(ORDERS[name], args, strict=False)), **kwargs}


def _axis(name: str, said: dict[str, Any]) -> int | None:
    """Return the axis along which a function chooses; None where it looks at all values."""
    axis = said.get("dim", None if name in ("max", "min", "argmax", "argmin") else -1)
    return axis if isinstance(axis, int) else None


def _largest(name: str, said: dict[str, Any]) -> bool:
    """Tell whether the largest score comes first."""
    if name in ("sort", "argsort"):
        return bool(said.get("descending", False))
    return bool(said.get("largest", True)) if name == "topk" else "max" in name


def _given(name: str, args: tuple, kwargs: dict[str, Any], result: Any, choice: Choice) -> Any:
    """Return `result` of a function with the places, or decisions, of `choice`."""
    with torch._C.DisableTorchFunction():
        if name in COMPARISONS:
            return torch.from_numpy(np.array(as_function_gave(name, choice.result)))
        said = _said(name, args, kwargs)
        places, axis = result if is_tensor(result) else result.indices, _axis(name, said)
        back = choice.result if axis is None else np.moveaxis(choice.result, -1, axis)
        index = torch.from_numpy(np.array(back))
        given = index.reshape(places.shape)
    if is_tensor(result):
        return given
    return type(result)(
        (torch.take_along_dim(said["input"], index, axis).reshape(given.shape), given)
    )


def _side(value: Any) -> np.ndarray:
    return to_array(value) if is_tensor(value) else np.asarray(value)


def _floating(sides: list[np.ndarray]) -> bool:
    """Tell whether one side is floating; a number beside whole ones is none."""
    return any(s.dtype.kind == "f" for s in sides) and all(s.dtype.kind in "fiub" for s in sides)
