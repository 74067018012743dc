"""Callables of the user's own, loaded by `module:callable`."""

import importlib
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError

_OURS = Path(__file__).resolve().parents[2]


_ROOMS = ("align", "convert", "common", "tools", "torch_ref", "paddle_impl", ".venv")


def load_callable(spec: str, option: str) -> Callable[..., Any]:
    """Return what `spec`, "package.module:name", names; the current folder is on the path.

    `option` is what the user called it, for messages. Raises UserError.
    """
    module, _, name = spec.partition(":")
    if not module or not name:
        raise UserError(f"{option} {spec}: expected MODULE:CALLABLE, as in my_pkg.nets:build")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(1, str(Path.cwd()))  # after the checkout, whose packages it may not hide
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise UserError(f"{option} {spec}: cannot import {module}: {told(error)}") from error
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        names = [n for n, value in vars(found).items() if callable(value) and n[0] != "_"]
        raise UserError(
            f"{option} {spec}: {module} has no {name}; it has {', '.join(names[:12])}"
        ) from None
    if not callable(found):
        raise UserError(f"{option} {spec}: is a {type(found).__name__}, expected a callable")
    return found


def build(spec: str, option: str, base: type, arguments: Mapping[str, Any] | None = None) -> Any:
    """Call what `spec` names and return the net; UserError where that is no `base`."""
    made = called(load_callable(spec, option), f"{option} {spec}", arguments)
    if not isinstance(made, base):
        raise UserError(
            f"{option} {spec}: returned {type(made).__module__}.{type(made).__qualname__}, "
            f"expected a {base.__module__}.{base.__qualname__}"
        )
    return made


def called(function: Callable[..., Any], what: str, arguments: Mapping[str, Any] | None) -> Any:
    """Call a user's function; what it raises is a UserError."""
    try:
        return function(**(arguments or {}))
    except Exception as error:
        raise UserError(f"{what}: {told(error)}") from error


def criterion(spec: str, option: str, base: type) -> Any:
    """Return a loss: a function as it is, of a class of `base` an instance."""
    found = load_callable(spec, option)
    if isinstance(found, type) and issubclass(found, base):
        return called(found, f"{option} {spec}", None)
    return found


def told(error: BaseException) -> str:
    """Say an error of a user's code in one line, with its file and line."""
    last = (str(error).strip().splitlines() or [""])[-1 if "\n\n" in str(error) else 0]
    place = user_frame(error)
    where = f" ({place.filename}:{place.lineno}, in {place.name})" if place else ""
    return f"{type(error).__name__}: {last}{where}"


def user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost frame that is neither this program's nor a library's."""
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    ours = tuple(str(_OURS / room) for room in _ROOMS)
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith(("<", *ours, *(str(path) for path in libraries)))
    ]
    return own[-1] if own else None
