"""Where results and messages go, whatever the code that a command runs does to its own stdout.

Nets are anybody's code: they print, close and redirect. After `keep_apart` the process's stdout is
this program's alone, and what others print goes to stderr.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from common.errors import UserError
from common.words.controls import escaped

UNKNOWN = "backslashreplace"  # what a terminal's encoding does not have
OUTPUT, ERROR = 1, 2  # numbers of the process's own streams


@dataclass(frozen=True)
class _Kept:
    """A duplicate of one of the process's streams, and which open file it is."""

    stream: TextIO
    identity: tuple[int, int]

    def is_itself(self) -> bool:
        """Tell whether nobody closed it, nor put another file under its number."""
        try:
            return _identity(self.stream.fileno()) == self.identity
        except (OSError, ValueError):
            return False


_kept: dict[int, _Kept] = {}


def results() -> TextIO:
    """Return where results go. Raises UserError where other code closed it."""
    if OUTPUT not in _kept:
        return sys.stdout
    if not _kept[OUTPUT].is_itself():
        raise UserError("could not check: the code that ran closed this program's standard output")
    return _kept[OUTPUT].stream


def messages() -> TextIO:
    """Return where progress and errors go."""
    if ERROR not in _kept or not _kept[ERROR].is_itself():
        return sys.stderr
    return _kept[ERROR].stream


def say(text: str) -> None:
    """Print a line of the result; what no person should meet in it is escaped."""
    print(escaped(text), file=results())


def keep_apart() -> None:
    """From now on `results()` is this program's alone: what others print goes to stderr.

    Descriptor 1 becomes stderr too, so that code which is not Python's, and children, go there.
    """
    if _kept or sys.stdout is None or sys.stderr is None:
        return
    sys.stdout.flush()
    for number, stream in ((OUTPUT, sys.stdout), (ERROR, sys.stderr)):
        _kept[number] = _duplicate(number, stream)
    os.dup2(ERROR, OUTPUT)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_let_go)


@contextmanager
def set_aside() -> Iterator[Callable[[], str]]:
    """Keep what libraries print in the block off the screen; yield a function that tells it.

    Below Python too: whatever goes to the process's own streams. `results` and `messages` stay.
    """
    before = {number: os.dup(number) for number in (OUTPUT, ERROR)}
    with tempfile.TemporaryFile() as file:

        def told() -> str:
            file.seek(0)
            return file.read().decode("utf-8", "replace")

        try:
            for number, stream in ((OUTPUT, sys.stdout), (ERROR, sys.stderr)):
                stream.flush()
                os.dup2(file.fileno(), number)
            yield told
        finally:
            for number, stream in ((OUTPUT, sys.stdout), (ERROR, sys.stderr)):
                stream.flush()
                os.dup2(before[number], number)
                os.close(before[number])


def _duplicate(number: int, stream: TextIO) -> _Kept:
    copy = os.dup(number)
    same = os.fdopen(copy, "w", 1, encoding=stream.encoding, errors=UNKNOWN)  # by lines
    return _Kept(same, _identity(copy))


def _let_go() -> None:
    """In a copy of the process: nothing that it prints is a result or a message."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number, kept in list(_kept.items()):
        if kept.is_itself():
            os.dup2(nowhere, kept.stream.fileno())
            _kept[number] = _Kept(kept.stream, _identity(nowhere))
    os.close(nowhere)


def _identity(number: int) -> tuple[int, int]:
    found = os.fstat(number)
    return found.st_dev, found.st_ino
