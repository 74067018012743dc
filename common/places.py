"""Where in the user's own code something happened, among frames of this program and libraries."""

import inspect
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from common.errors import UserError

_HOME = Path(__file__).resolve().parents[1]
# {name: module} of modules whose names others have in `sys.modules` now: a repository may have a
# `common.py` or a `port/` of its own. What looks for modules looks here, too.
ASIDE: dict[str, ModuleType] = {}
_ROOMS = (
    *("align", "commands", "convert", "common", "tools", "torch_ref", "paddle_impl"),
    *("export", "port"),
)
_OURS = tuple(f"{_HOME / room}/" for room in _ROOMS)
_NOT_THE_USERS = (
    "<",
    *_OURS,
    f"{_HOME / '.venv'}/",
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


class SourceText(NamedTuple):
    """Where a function or class is written: its file, its first line from 1, and its text."""

    file: str
    line: int
    text: str


def where_written(code: Any) -> SourceText | None:
    """Return where a function or class is written, None where nobody knows."""
    with _standing(code):
        try:
            file, (lines, first) = inspect.getsourcefile(code), inspect.getsourcelines(code)
        except (OSError, TypeError):
            return None
    return SourceText(file, max(first, 1), "".join(lines)) if file else None


def loaded_modules() -> dict[str, ModuleType]:
    """Return every module that is loaded, by name; of two with one name those in `ASIDE`, too."""
    return {**sys.modules, **{f"{name} (aside)": module for name, module in ASIDE.items()}}


@contextmanager
def _standing(code: Any) -> Iterator[None]:
    """Let the module of a class stand in `sys.modules`: there `inspect` looks for its file."""
    name, own = str(getattr(code, "__module__", "")), str(getattr(code, "__qualname__", ""))
    here, aside = sys.modules.get(name), ASIDE.get(name)
    root = own.partition(".")[0]
    theirs = isinstance(code, type) and aside is not None and hasattr(aside, root)
    if not theirs or getattr(here, root, None) is code:
        yield
        return
    sys.modules[name] = aside  # type: ignore[assignment]  # `theirs` says that there is one
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update({name: here} if here else {})


def place_of(function: Any) -> str:
    """Return "file:line" of a function or class of the user's, "" where that is not known."""
    try:
        source = where_written(inspect.unwrap(function))
    except ValueError:
        return ""
    return f"{source.file}:{source.line}" if source and is_users(source.file) else ""


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


def is_ours(function: Any) -> bool:
    """Tell whether a function is written in this program, whatever its module is called."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code is not None and code.co_filename.startswith(_OURS)


def is_users(filename: str) -> bool:
    """Tell whether a file of code is the user's."""
    return not filename.startswith(_NOT_THE_USERS)
