"""Where in the user's own code something happened, among frames of this program and libraries."""

import sys
import sysconfig
import traceback
from pathlib import Path

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


def told(error: BaseException) -> str:
    """Say an error of a user's code in one line, with its file and line."""
    place = user_frame(error)
    where = f" ({place.filename}:{place.lineno}, in {place.name})" if place else ""
    if isinstance(error, SystemExit):
        return f"SystemExit({error.code if error.code is not None else ''}){where}"
    words = _first_line(str(error))
    return f"{type(error).__name__}{': ' * bool(words)}{words}{where}"


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
