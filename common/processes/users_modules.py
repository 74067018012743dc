"""Two modules of one name: the user's in the user's code, ours in ours.

A repository may well have a `common.py` or an `align/` of its own. Who imports decides: a file of
this program gets ours, any other file the user's, where the user's path has one. Only one of the
two can stand in `sys.modules` under its name; the other is kept in `common.places.ASIDE` and they
change places for the length of an import, lazy ones too.
"""

import builtins
import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from common.places import ASIDE, is_users

ROOT = Path(__file__).resolve().parents[2]
ROOMS = frozenset(
    {"align", "commands", "common", "convert", "export", "paddle_impl", "port", "torch_ref"}
)


class _Worlds:
    """Our modules and the user's of the same names; ours stand in `sys.modules` at rest."""

    def __init__(self) -> None:
        self.import_builtin: Callable[..., Any] = builtins.__import__
        self.import_by_name: Callable[..., ModuleType] = importlib.import_module
        self.users = False  # whose modules stand in `sys.modules`
        self.lock = threading.RLock()

    def import_(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        """Import for the code that `globals` are of; stands in the place of `__import__`."""
        full = name if not level else (globals or {}).get("__package__") or name
        if _root(full) not in ROOMS:
            return self.import_builtin(name, globals, locals, fromlist, level)
        with self.world(self._is_users(globals, full)):
            return self.import_builtin(name, globals, locals, fromlist, level)

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """Import for the calling frame; stands in the place of `importlib.import_module`."""
        full = name if not name.startswith(".") else package or name
        if _root(full) not in ROOMS:
            return self.import_by_name(name, package)
        with self.world(self._is_users(sys._getframe(1).f_globals, full)):
            return self.import_by_name(name, package)

    def _is_users(self, importer: Mapping[str, Any] | None, name: str) -> bool:
        """Tell whether what imports is the user's, and finds a module of its own."""
        file = (importer or {}).get("__file__")
        return bool(file) and is_users(str(file)) and has_module(_root(name))

    @contextmanager
    def world(self, users: bool) -> Iterator[None]:
        """Let the user's modules stand in `sys.modules`, or ours."""
        with self.lock:
            if users == self.users:
                yield
                return
            self._change()
            try:
                yield
            finally:
                self._change()

    def _change(self) -> None:
        standing = {name: sys.modules[name] for name in list(sys.modules) if _root(name) in ROOMS}
        for name in standing:
            del sys.modules[name]
        sys.modules.update(ASIDE)
        ASIDE.clear()
        ASIDE.update(standing)
        self.users = not self.users
        if self.users:
            sys.path[:] = [place for place in sys.path if place != str(ROOT)]
        else:
            sys.path.insert(0, str(ROOT))


def _root(name: str) -> str:
    return name.partition(".")[0]


def has_module(root: str) -> bool:
    """Tell whether the user's path has a top-level module of this name that is not ours."""
    places = [place for place in sys.path if Path(place or ".").resolve() != ROOT]
    found = PathFinder.find_spec(root, places)
    return found is not None and (found.origin is None or is_users(found.origin))


_worlds: _Worlds | None = None


def watch_imports() -> _Worlds:
    """Let every import of this process get the modules of who imports, from now on."""
    global _worlds
    if _worlds is None:
        _worlds = _Worlds()
        builtins.__import__ = _worlds.import_
        importlib.import_module = _worlds.import_module
    return _worlds


def is_watched() -> bool:
    """Tell whether this process has loaded modules that a user named."""
    return _worlds is not None


def import_users(name: str) -> ModuleType:
    """Return a module that the user names, by the user's path."""
    worlds = watch_imports()
    with worlds.world(_root(name) in ROOMS and has_module(_root(name))):
        return worlds.import_by_name(name)
