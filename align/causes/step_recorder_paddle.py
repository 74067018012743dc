"""Takes down the functions that the code of one call of the port calls."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import paddle
from paddle.nn import functional

from align.arrays.arrays_paddle import is_tensor, to_array, to_tensor
from align.arrays.trees import map_leaves
from align.causes.held_functions_paddle import Put
from align.causes.meaning import meaning
from align.causes.step_recorder import Recorder

OPERATORS = (
    *("__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__mul__", "__rmul__"),
    *("__truediv__", "__rtruediv__", "__div__", "__rdiv__", "__pow__", "__rpow__", "__neg__"),
    *("__matmul__", "__rmatmul__", "__getitem__", "__lt__", "__le__", "__gt__", "__ge__"),
    *("__eq__", "__ne__", "__and__", "__or__", "__invert__"),
)
# They compute nothing, or what is no part of the net.
LEFT_OUT = frozenset(
    ("to_tensor", "no_grad", "grad", "is_tensor", "numel", "rank", "shape", "save")
)


Held = Mapping[int, Sequence[Put]]  # see `held_functions`


class PaddleRecorder(Recorder):
    """Of Paddle's tensors."""

    def is_tensor(self, value: Any) -> bool:
        """See `Recorder`."""
        return is_tensor(value)

    def read(self, tensor: Any) -> tuple[np.ndarray, bool, int]:
        """See `Recorder`."""
        flows = not tensor.stop_gradient
        return np.array(to_array(tensor.detach())), flows, int(tensor.inplace_version)


@dataclass
class Patch:
    """An array for one operand of the step of this number, with None for its result."""

    number: int
    function: str
    operand: int | None
    array: np.ndarray

    def into(self, args: Any, kwargs: Any) -> Any:
        """Return the arguments of the step with the array in its place."""
        if self.operand is None:
            return args, kwargs
        left = [self.operand]

        def placed(leaf: Any) -> Any:
            if not is_tensor(leaf):
                return leaf
            left[0] -= 1
            return to_tensor(self.array) if left[0] == -1 else leaf

        return map_leaves((args, kwargs), placed)

    def after(self, args: Any, result: Any) -> Any:
        """Return the step's result; one that is written into its operand is written there."""
        if self.operand is not None:
            return result
        if args and result is args[0]:
            result.set_value(to_tensor(self.array))
            return result
        return to_tensor(self.array)


@contextmanager
def watched(
    recorder: Recorder, own: Callable[[], bool], patches: Sequence[Patch], held: Held
) -> Iterator[None]:
    """Give `recorder` every function that is called while `own()` is true.

    `patches` give some of them another operand, or result; `held` is where else code holds them.
    """
    busy = [False]

    def spy(function: Any, name: str) -> Any:
        def spied(*args: Any, **kwargs: Any) -> Any:
            if busy[0] or not own():
                return function(*args, **kwargs)
            busy[0] = True
            try:
                number = len(recorder.found.steps)
                own_patches = [p for p in patches if (p.number, p.function) == (number, name)]
                for patch in own_patches:
                    args, kwargs = patch.into(args, kwargs)
                operands, said = recorder.operands(args, kwargs)
                result = function(*args, **kwargs)
                for patch in own_patches:
                    result = patch.after(args, result)
                recorder.step(name, operands, said, result, meaning(function, args, kwargs))
                return result
            finally:
                busy[0] = False

        return spied

    with ExitStack() as stack:
        for home, name in _functions():
            put_in_place(stack, (home, name), spy(getattr(home, name), name), held)
        yield


def put_in_place(stack: ExitStack, place: tuple[Any, str], function: Any, held: Held) -> None:
    """Put `function` at (holder, name), and where else code holds what is there, until the end."""
    home, name = place
    original = getattr(home, name)
    back = partial(setattr, home, name, original) if name in vars(home) else None
    stack.callback(back or partial(delattr, home, name))
    setattr(home, name, function)
    for put in held.get(id(original), ()):
        stack.callback(put, original)
        put(function)


def _functions() -> Iterator[tuple[Any, str]]:
    """Yield (holder, name) of every function of tensors that code reaches by attribute."""
    methods = [name for name in paddle.tensor.tensor_method_func if name not in LEFT_OUT]
    for name in methods:
        if callable(getattr(paddle, name, None)):
            yield paddle, name
    for name in functional.__all__:
        if callable(getattr(functional, name)) and isinstance(getattr(functional, name), _PLAIN):
            yield functional, name
    taken = {*methods, "clone", "detach", "astype", "cast", "contiguous", *OPERATORS}
    for name in sorted(taken - {"numpy"}):
        if hasattr(paddle.Tensor, name):
            yield paddle.Tensor, name


_PLAIN = type(lambda: None)
