"""The arguments of one call, in the order of its signature."""

import inspect
from collections.abc import Callable
from functools import lru_cache
from types import MethodType
from typing import Any

from align.arrays.trees import leaves

Forward = Callable[..., Any]


def bind(forward: Forward, args: tuple, kwargs: dict[str, Any]) -> inspect.BoundArguments | None:
    """Return the arguments by name in the order of `forward`'s signature, or None without one."""
    try:
        if inspect.ismethod(forward) and not hasattr(forward.__func__, "__wrapped__"):
            return _signature_of_method(forward.__func__).bind(*args, **kwargs)
        return inspect.signature(forward).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return None


@lru_cache(maxsize=1024)
def _signature_of_method(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a method of a class, without its first parameter."""
    return inspect.signature(MethodType(function, object()))


def arguments_in_order(forward: Forward, args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    """Return the leaves of the arguments in the order of the signature."""
    bound = bind(forward, args, kwargs)
    return leaves((args, kwargs) if bound is None else list(bound.arguments.values()))
