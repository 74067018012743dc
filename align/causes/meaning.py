"""What a call of a function means: its settings by name, with the defaults filled in."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

# Torch's names of settings that Paddle calls otherwise.
PADDLES = {"dim": "axis", "eps": "epsilon", "input": "x"}
# What torch makes of a setting that is None.
NONE_IS = {"align_corners": False}
LEFT_OUT = frozenset(("name", "out", "inplace", "x", "dtype", "_stacklevel"))
_PLAIN = (bool, int, float, str, type(None))


def meaning(function: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the settings of a call by Paddle's names; nothing where its signature is not known."""
    try:
        bound = _signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return {}
    bound.apply_defaults()
    said = ((PADDLES.get(n, n), value) for n, value in bound.arguments.items())
    return {n: value for n, value in said if isinstance(value, _PLAIN) and n not in LEFT_OUT}


def apart(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, port's value, reference's) of each setting that both have and that differs."""
    for name, value in ours.items():
        if name not in theirs:
            continue
        other = theirs[name]
        other = NONE_IS.get(name) if other is None else other
        if other is not None and value != other:
            yield name, value, other


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)
