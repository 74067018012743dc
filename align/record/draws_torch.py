"""Sees every random number that code of the reference draws, and gives it again in another run.

Seen below autograd, where all of torch's random functions (dropout of any kind, attention's and
recurrent layers' own, `rand`, `bernoulli_`, ...) come down to a few.
"""

import random
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from align.arrays.arrays_torch import is_tensor, to_array
from align.record.draws import MASK, NORMAL, UNIFORM, UNKNOWN, CallKey, Draw, DrawKind, by_owner
from common.errors import UserError

# Functions of torch's dispatcher, with or without the trailing underscore of in-place ones.
KINDS: dict[str, DrawKind] = {
    "bernoulli": MASK,
    "uniform": UNIFORM,
    "rand": UNIFORM,
    "rand_like": UNIFORM,
    "normal": NORMAL,
    "randn": NORMAL,
    "randn_like": NORMAL,
}
FACTORIES = ("rand", "rand_like", "randn", "randn_like")


class _Mode(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler, 70 MB, to leave this code uncompiled."""
        return False


class SeesDraws(_Mode):
    """Notes every draw in `draws`.

    `running` gives the calls that run, outermost first, `function` the function of torch that
    code called, "" where there is none. `kept` gives what stands for the values in a draw.
    """

    def __init__(
        self,
        draws: list[Draw],
        running: Callable[[], tuple[CallKey, ...]],
        function: Callable[[], str],
        kept: Callable[[np.ndarray], Any],
    ) -> None:
        super().__init__()
        self.kept = kept
        self.draws = draws
        self.running = running
        self.function = function
        self.state = _state()
        self.others = _other_states()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        self.check()
        with torch._C.DisableTorchFunction():  # nobody else is to see this
            settings = _settings(func, args, kwargs)  # an in-place function overwrites its rate
            result = func(*args, **kwargs)
            if self._has_moved() or kwargs.get("generator") is not None:
                self._note(func, settings, result)
        return result

    def check(self) -> None:
        """Note what was drawn past the dispatcher since the last look."""
        if self._has_moved():
            self.draws.append(Draw("code outside torch", UNKNOWN, self.running()))
        before, self.others = self.others, _other_states()
        for name, state in self.others.items():
            if state != before[name]:
                self.draws.append(Draw(name, UNKNOWN, self.running()))

    def _has_moved(self) -> bool:
        before, self.state = self.state, _state()
        return before != self.state

    def _note(self, func: Any, settings: dict[str, Any], result: Any) -> None:
        name, kind = self.function() or _name(func), _kind(func, settings)
        if kind == UNKNOWN or not is_tensor(result):
            self.draws.append(Draw(name, UNKNOWN, self.running()))
            return
        values = to_array(result).copy()
        keep = settings.get("p")
        if kind == MASK:
            values = values != 0
        self.draws.append(
            Draw(
                *(name, kind, self.running(), self.kept(values)),
                low=float(settings.get("from", settings.get("mean", 0.0))),
                high=float(settings.get("to", settings.get("std", 1.0))),
                keep=None if keep is None else float(keep),
            )
        )


class GivesDraws(_Mode):
    """Gives the code of each call of a path in `judged` what it drew when it was recorded.

    `running` gives the judged call whose code runs; `generator` is what the observer itself draws
    with.
    """

    def __init__(
        self,
        draws: list[Draw],
        judged: Collection[str],
        running: Callable[[], CallKey | None],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        known = [draw for draw in draws if draw.kind != UNKNOWN]
        self.left = {key: iter(own) for key, own in by_owner(known, judged).items()}
        self.running = running
        self.generator = generator

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags or (
            kwargs.get("generator") is self.generator
        ):
            return func(*args, **kwargs)
        settings = _settings(func, args, kwargs)
        own = func(*args, **kwargs)
        if _kind(func, settings) == UNKNOWN or not is_tensor(own):
            return own
        draw = next(self.left.get(self.running() or ("", -1), iter(())), None)
        if draw is None or draw.values.shape != tuple(own.shape):
            raise UserError(
                f"the reference draws other random numbers when it runs again: {_name(func)} "
                f"{list(own.shape)}, recorded was {draw or 'nothing more'}; its code may not "
                "decide by what other runs left behind"
            )
        return own.copy_(torch.from_numpy(draw.values))


def _state() -> bytes:
    """Return the state of torch's generator; what watches functions is not to see this."""
    with torch._C.DisableTorchFunction():
        return torch.get_rng_state().numpy().tobytes()


def _other_states() -> dict[str, Any]:
    """Return the states of the generators besides torch's that code of nets draws from."""
    state: Any = np.random.get_state(legacy=True)
    return {"random": random.getstate(), "numpy.random": (state[1].tobytes(), *state[2:])}


def _name(func: Any) -> str:
    return str(func._schema.name.partition("::")[2])


def _kind(func: Any, settings: dict[str, Any]) -> DrawKind:
    """Return the kind of what `func` draws; normal numbers of many means are UNKNOWN."""
    kind = KINDS.get(_name(func).rstrip("_"), UNKNOWN)
    numbers = [settings.get(name, 0.0) for name in ("mean", "std", "from", "to")]
    return UNKNOWN if any(is_tensor(number) for number in numbers) else kind


def _settings(func: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a draw by name, defaults among them; `p` only where it is one."""
    names = [argument.name for argument in func._schema.arguments]
    defaults = {
        argument.name: argument.default_value
        for argument in func._schema.arguments
        if argument.has_default_value()
    }
    found = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
    if _name(func).rstrip("_") in FACTORIES:
        found = {}
    if _name(func) == "bernoulli" and "p" not in names:
        found["p"] = args[0]
    if is_tensor(found.get("p")):
        found["p"] = _one_value(found["p"])
    return found


def _one_value(rates: torch.Tensor) -> float | None:
    """Return the value that all elements have; None where they differ."""
    array = np.unique(to_array(rates))
    return float(array[0]) if len(array) == 1 else None
