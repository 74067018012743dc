"""One face of all commands: results on stdout, progress on stderr, a verdict at the end.

On a terminal there is colour and the window's width; into a pipe or a file go plain lines that are
never wrapped, so that they can be searched.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

UNLIMITED = 100_000
STYLES = {0: "green", 1: "red", 2: "yellow"}
MARKS = {0: ("✓", "ok"), 1: ("✗", "no"), 2: ("?", "??")}


class Screen(Console):
    """A console that lets a closed pipe (`| head`) end the command as any program's does."""

    def on_broken_pipe(self) -> None:
        """Leave it to `tools/_entry.py`; rich would exit with 1, "checked and not good"."""
        raise BrokenPipeError


def screen(file: Any = None, stderr: bool = False) -> Screen:
    """Return a console for results, or with `stderr` for progress."""
    plain: Any = {"markup": False, "highlight": False, "emoji": False}
    made = Screen(file=file, stderr=stderr, **plain)
    if made.is_terminal:
        return made
    return Screen(file=file, stderr=stderr, width=UNLIMITED, color_system=None, **plain)


def mark(console: Console, code: int) -> str:
    """Return the sign of an exit code that `console` can print."""
    return MARKS[code][0 if console.encoding.lower().startswith("utf") else 1]


def verdict(console: Console, code: int, text: str) -> None:
    """Print the last line of a command: on a terminal with its sign and colour."""
    sign = f"{mark(console, code)} " if console.is_terminal else ""
    console.print(f"{sign}{text}", style=f"bold {STYLES[code]}")


@contextmanager
def working(words: str, quiet: bool = False) -> Iterator[None]:
    """Say on stderr what is being done: a spinner with the time, or one line without a terminal."""
    if quiet:
        yield
        return
    console = screen(stderr=True)
    if not console.is_terminal:
        print(f"{words} ...", file=sys.stderr, flush=True)
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        shown.add_task(words.replace("[", "\\["), total=None)
        yield
