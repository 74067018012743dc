"""Where the code of a layer holds functions of Paddle: a name it imported, a cell, an attribute."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from operator import setitem
from types import FunctionType, MethodType
from typing import Any

from paddle import nn

from common.nets import members
from common.places import is_users

Put = Callable[[Any], None]  # puts another function in one place
# Packages whose code is no part of a port.
FOREIGN = frozenset(("torch", "numpy", "scipy", "align", "builtins")) | sys.stdlib_module_names
MOST = 1000  # longer tables hold no functions


def held_functions(layer: nn.Layer) -> dict[int, list[Put]]:
    """Return {identity of a function of Paddle: its places} of the code of a layer.

    `from paddle.nn.functional import relu`, `self.act = functional.relu`, a table of functions:
    code that holds a function so does not see what stands at `functional.relu`.
    """
    found: dict[int, list[Put]] = {}
    seen: set[int] = set()
    left = [each for own in members.modules(layer) for each in _of_layer(own)]
    while left:
        value, put = left.pop()
        if _package(value) == "paddle":
            if put is not None and not isinstance(value, type):
                found.setdefault(id(value), []).append(put)
        elif id(value) not in seen:
            seen.add(id(value))
            left += _inside(value)
    return found


Place = tuple[Any, Put | None]  # a value, and what puts another where it is


def _of_layer(layer: nn.Layer) -> Iterator[Place]:
    """Yield what the code of one layer starts from."""
    yield from _inside(vars(layer))
    for kind in type(layer).__mro__:
        if _package(kind) != "paddle" and not _is_foreign(kind, vars(kind).values()):
            yield from ((value, None) for value in vars(kind).values())


def _inside(value: Any) -> Iterator[Place]:
    """Yield what a function, a table or a partial function holds."""
    if isinstance(value, FunctionType) and not _is_foreign(value, (value,)):
        yield value.__globals__, None
        for cell in value.__closure__ or ():
            yield from _filled(cell)
    elif isinstance(value, MethodType):
        yield value.__func__, None
    elif isinstance(value, partial):
        rest = value.args, value.keywords, vars(value)
        state: Any = value  # the stubs lack that it may be set
        yield value.func, lambda other: state.__setstate__((other, *rest))
    elif isinstance(value, dict) and len(value) <= MOST:
        yield from ((each, partial(setitem, value, key)) for key, each in _callables(value))
    elif isinstance(value, list) and len(value) <= MOST:
        pairs = dict(enumerate(value))
        yield from ((each, partial(setitem, value, key)) for key, each in _callables(pairs))


def _is_foreign(code: Any, functions: Iterable[Any]) -> bool:
    """Tell whether a function, or a class with these, is of such a package.

    A user's own `align/` or `code.py` is none: its files say so.
    """
    own = (each.__code__ for each in functions if isinstance(each, FunctionType))
    return _package(code) in FOREIGN and not any(is_users(each.co_filename) for each in own)


def _callables(table: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    kinds = (FunctionType, MethodType, partial, dict, list)
    for key, each in list(table.items()):
        if isinstance(each, kinds) or _package(each) == "paddle":
            yield key, each


def _filled(cell: Any) -> Iterator[Place]:
    try:
        yield cell.cell_contents, partial(setattr, cell, "cell_contents")
    except ValueError:  # nothing is in it yet
        return


def _package(value: Any) -> str:
    """Return the package in which a function or class is written, "" of any other value."""
    if not callable(value) or isinstance(value, nn.Layer):
        return ""
    return str(getattr(value, "__module__", None) or "").partition(".")[0]
