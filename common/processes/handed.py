"""A user's objects on their way to another process, which has not loaded their modules yet.

Python pickles a class by the name of its module, and the user's `common.py` is not the module that
stands under that name: see `common.processes.users_modules`.
"""

import io
import pickle
from functools import reduce
from types import FunctionType
from typing import Any

from common.errors import DataError
from common.places import ASIDE, told
from common.processes.users_modules import import_users, is_watched, watch_imports

_OURS, _USERS = b"o", b"u"  # first byte: whether the user's modules have names of ours


def packed(value: Any) -> bytes:
    """Return `value` as `unpacked` takes it. Raises what pickling raises."""
    buffer = io.BytesIO()
    _Pickler(buffer).dump(value)
    return (_USERS if is_watched() else _OURS) + buffer.getvalue()


def unpacked(data: bytes) -> Any:
    """Return what was packed, in a process whose path is the packing one's.

    Raises DataError where the user's code cannot be loaded.
    """
    if data[:1] == _USERS:
        watch_imports()
    try:
        return pickle.loads(data[1:])
    except Exception as error:  # whatever a user's module raises
        raise DataError(
            f"data: cannot be read by other processes: {told(error)}; set data.workers: 0 "
            "(--workers 0)"
        ) from None


class _Pickler(pickle.Pickler):
    """Names classes and functions of modules that stand aside by whose they are."""

    def reducer_override(self, value: Any) -> Any:
        """See `pickle.Pickler`."""
        if not isinstance(value, type | FunctionType) or value.__module__ not in ASIDE:
            return NotImplemented
        parts = value.__qualname__.split(".")
        found: Any = ASIDE[value.__module__]
        for name in parts:
            found = getattr(found, name, None)
        return (_users, (value.__module__, parts)) if found is value else NotImplemented


def _users(module: str, parts: list[str]) -> Any:
    """Return a class or function of a module of the user's."""
    return reduce(getattr, parts, import_users(module))
