"""Where in the user's own code something happened, among frames of this program and libraries."""

import inspect
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError

_HOME = Path(__file__).resolve().parents[1]
_ROOMS = (
    *("align", "commands", "convert", "common", "tools", "torch_ref", "paddle_impl"),
    *("export", "port", ".venv"),
)
_NOT_THE_USERS = (
    "<",
    *(f"{_HOME / room}/" for room in _ROOMS),
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)


def told(error: BaseException, function: Any = None) -> str:
    """Say an error of a user's code in one line, with its file and line.

    Where no line of the user's was running, with those of `function`, which was called.
    """
    place = user_frame(error)
    where = f"{place.filename}:{place.lineno}, in {place.name}" if place else place_of(function)
    where = f" ({where})" if where else ""
    if isinstance(error, SystemExit):
        return f"SystemExit({error.code if error.code is not None else ''}){where}"
    words = _first_line(str(error))
    return f"{type(error).__name__}{': ' * bool(words)}{words}{where}"


def place_of(function: Any) -> str:
    """Return "file:line" of a function or class of the user's, "" where that is not known."""
    try:
        own = inspect.unwrap(function)
        file, line = inspect.getsourcefile(own), inspect.getsourcelines(own)[1]
    except (OSError, TypeError, ValueError):
        return ""
    return f"{file}:{line}" if file and is_users(file) else ""


def refuse_signature(
    function: Any,
    what: str,
    given: Sequence[str],
    named: Iterable[str] = (),
    may: Sequence[str] = (),
    remedy: str = "give what is left a default, or wrap it in a function of these alone",
) -> None:
    """Raise UserError where `function` cannot be called with `given`, and with `named` by name.

    `what` is what the user called it, `may` what it could also take by name, for the message, and
    `remedy` what is to be done.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of compiled code: the call itself tells
        return
    try:
        signature.bind(*given, **dict.fromkeys(named))
    except TypeError as error:
        name = getattr(function, "__qualname__", type(function).__qualname__)
        place = place_of(function)
        where = f" ({place})" if place else ""
        besides = f", and with {' and '.join(may)} where it takes them by name" if may else ""
        raise UserError(
            f"could not check: {what}, {name}{signature}{where}, is called "
            f"with ({', '.join(given)}){besides}: {error}; {remedy}"
        ) from None


def _first_line(text: str) -> str:
    """Return the line that says it: of Paddle's errors the one below their two headings."""
    lines = (text.partition("Error Message Summary:")[2] or text).splitlines()
    return next((line.strip() for line in lines if line.strip(" -")), "")


def user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost frame that is neither this program's nor a library's.

    Of a SyntaxError that is the line that cannot be read.
    """
    if isinstance(error, SyntaxError) and is_users(error.filename or "<"):
        return traceback.FrameSummary(error.filename or "", error.lineno or 0, "the module")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_users(frame.filename)]
    return own[-1] if own else None


def caller() -> str:
    """Return "file:line, in name" of the user's innermost running frame, "" without one."""
    frame = sys._getframe(1)
    while frame is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    if frame is None:
        return ""
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"


def is_users(filename: str) -> bool:
    """Tell whether a file of code is the user's."""
    return not filename.startswith(_NOT_THE_USERS)
