"""Lets random functions of Paddle give what the reference drew."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial, wraps
from typing import Any

import numpy as np
import paddle
from paddle.nn import functional
from paddle.tensor import random

from align.arrays.arguments import Forward
from align.force.given_draws import DrawGiver, Wanted
from align.record.draws import MASK, NORMAL, UNIFORM
from align.record.trace import Call
from common.nets import members
from common.places import loaded_modules

RandomSettings = dict[str, Any]
FOREIGN = ("torch", "numpy", "scipy", "sympy")  # packages that hold no function of Paddle


class GivenDraws:
    """Stands around the calls of a port: its random functions give what `giver` has for them."""

    def __init__(self, giver: DrawGiver) -> None:
        self.giver = giver
        self.state = _state()

    def around(self, path: str, call: Call, forward: Forward) -> Forward:
        """Return `forward` of the layer `path` as it runs for `call` of the reference."""

        def run(*args: Any, **kwargs: Any) -> Any:
            self.check()
            self.giver.enter(path, call.key)
            try:
                outputs = forward(*args, **kwargs)
            except BaseException:
                self.giver.frames.pop()
                raise
            self.check()
            self.giver.leave()
            return outputs

        return run

    def check(self) -> None:
        """Tell `giver` if code of the port drew past the functions that are replaced."""
        before, self.state = self.state, _state()
        if before != self.state:
            self.giver.escaped()

    @contextmanager
    def replaced(self, net: paddle.nn.Layer) -> Iterator[None]:
        """Replace the random functions wherever a module holds them; put all back at the end."""
        new = {id(function): make(self, function) for function, make in _functions()}
        undo: list[tuple[Callable[[Any], None], Any]] = []
        try:
            for holder, name in (*_held(frozenset(loaded_modules())), *_held_by_code(net)):
                value = vars(holder).get(name)
                if id(value) in new:
                    setattr(holder, name, new[id(value)])
                    undo.append((partial(setattr, holder, name), value))
            self.state = _state()
            yield
        finally:
            for put, value in reversed(undo):
                put(value)

    def own(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a random function of Paddle as it is."""
        self.check()
        result = function(*args, **kwargs)
        self.state = _state()
        return result


def _state() -> str:
    """Return the state of Paddle's generator, without the address that 3.3 puts in."""
    text = str(paddle.framework.core.default_cpu_generator().get_state())
    head, _, tail = text.partition(" 0x")
    return head + tail.partition(" ")[2]


def _functions() -> Iterator[tuple[Any, Callable[[GivenDraws, Any], Any]]]:
    """Yield each function that is replaced, with what makes its replacement.

    `rand`, `randn`, `alpha_dropout` and the others are written with these.
    """
    yield functional.dropout, _dropout
    for name, wanted in WANTED.items():
        if hasattr(random, name):
            yield getattr(random, name), partial(_filled, wanted)


@lru_cache(maxsize=1)
def _held(modules: frozenset[str]) -> list[tuple[Any, str]]:
    """Return (module or class, name) of each place where one of `modules` holds such a function."""
    loaded = loaded_modules()
    own = [loaded[name] for name in modules if name.partition(".")[0] not in FOREIGN]
    return _among([*own, paddle.Tensor])


def _held_by_code(net: paddle.nn.Layer) -> list[tuple[Any, str]]:
    """Return the same of the modules in which the code of `net` is written."""
    homes = {type(layer).__module__ for layer in members.modules(net)}
    return _among([sys.modules[name] for name in homes if name in sys.modules])


def _among(holders: list[Any]) -> list[tuple[Any, str]]:
    functions = {id(function) for function, _ in _functions()}
    return [
        (holder, name)
        for holder in holders
        if hasattr(holder, "__dict__")
        for name, value in list(vars(holder).items())
        if id(value) in functions
    ]


def _uniform(name: str, result: Any, settings: RandomSettings) -> Wanted:
    low, high = float(settings["min"]), float(settings["max"])
    return Wanted(name, UNIFORM, tuple(result.shape), low, high)


def _normal(name: str, result: Any, settings: RandomSettings) -> Wanted:
    mean, std = float(settings["mean"]), float(settings["std"])
    return Wanted(name, NORMAL, tuple(result.shape), mean, std)


def _bernoulli(name: str, result: Any, settings: RandomSettings) -> Wanted | None:
    rate = settings.get("p")
    rates = np.unique((settings["x"] if rate is None else paddle.to_tensor(rate)).numpy())
    if len(rates) != 1:
        return None
    shape = tuple(result.shape)
    return Wanted(name, MASK, shape, keep=float(rates[0]), may_flip=True)


WANTED: dict[str, Callable[[str, Any, RandomSettings], Wanted | None]] = {
    "uniform": _uniform,
    "uniform_": _uniform,
    "gaussian": _normal,
    "gaussian_": _normal,
    "bernoulli": _bernoulli,
    "bernoulli_": _bernoulli,
}


def _filled(
    wanted: Callable[[str, Any, RandomSettings], Wanted | None], replay: GivenDraws, function: Any
) -> Any:
    """Return `function`, whose result gets other values."""
    name = function.__name__
    signature = inspect.signature(function)

    @wraps(function)
    def draw(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        settings = dict(bound.arguments)
        if "x" in settings:
            settings["x"] = settings["x"].clone()  # an in-place function overwrites it
        own = replay.own(function, *args, **kwargs)
        want = wanted(name, own, settings)
        if want is None:
            replay.giver.escaped()
            return own
        values = replay.giver.next(want)
        with paddle.no_grad():
            return paddle.assign(paddle.to_tensor(values).cast(own.dtype), own)

    return draw


def _dropout(replay: GivenDraws, function: Any) -> Any:
    """Return `dropout` that keeps what it is given; rate, mode and axes are the caller's."""
    signature = inspect.signature(function)

    @wraps(function)
    def dropout(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        settings = bound.arguments
        rate = float(settings["p"])
        if not settings["training"] or rate in (0.0, 1.0):
            return replay.own(function, *args, **kwargs)
        x = settings["x"]
        kept = replay.giver.next(
            Wanted("dropout", MASK, _mask_shape(x, settings["axis"]), keep=1.0 - rate)
        )
        result = x * paddle.to_tensor(kept).cast(x.dtype)
        return result / (1.0 - rate) if settings["mode"] == "upscale_in_train" else result

    return dropout


def _mask_shape(x: paddle.Tensor, axis: Any) -> tuple[int, ...]:
    """Return the shape of the mask of `dropout(x, axis=axis)`."""
    if axis is None:
        return tuple(x.shape)
    axes = [axis] if isinstance(axis, int) else list(axis)
    return tuple(size if i in axes else 1 for i, size in enumerate(x.shape))
