"""One face of all commands: results on stdout, progress on stderr, a verdict at the end.

On a terminal there is colour and the window's width; into a pipe or a file go plain lines that are
never wrapped, so that they can be searched.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Column
from rich.text import Text

from common.streams import messages, results
from common.words.controls import escaped
from common.words.language import comma, phrase

UNLIMITED = 100_000
BAR = 10  # columns
SLOW = 3  # seconds after which a phase says its own time
EVERY = 5.0  # seconds between two lines of `counting` where there is no terminal
STYLES = {0: "green", 1: "red", 2: "yellow"}
MARKS = {0: ("✓", "ok"), 1: ("✗", "no"), 2: ("?", "??")}


class Screen(Console):
    """A console that lets a closed pipe (`| head`) end the command as any program's does."""

    def on_broken_pipe(self) -> None:
        """Leave it to `commands/entry.py`; rich would exit with 1, "checked and not good"."""
        raise BrokenPipeError

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text, or a cell of a table, in which no name moves the cursor."""
        return super().render_str(escaped(text), **options)


def screen(file: Any = None, stderr: bool = False) -> Screen:
    """Return a console for results, or with `stderr` for progress."""
    plain: Any = {"markup": False, "highlight": False, "emoji": False}
    if file is None:
        file = messages() if stderr else results()
    made = Screen(file=file, **plain)
    if made.is_terminal:
        return made
    return Screen(file=file, width=UNLIMITED, color_system=None, **plain)


def mark(console: Console, code: int) -> str:
    """Return the sign of an exit code that `console` can print."""
    return MARKS[code][0 if console.encoding.lower().startswith("utf") else 1]


def verdict(console: Console, code: int, text: str) -> None:
    """Print the last line of a command: on a terminal with its sign and colour."""
    sign = f"{mark(console, code)} " if console.is_terminal else ""
    console.print(f"{sign}{text}", style=f"bold {STYLES[code]}")


def labelled(rows: Sequence[tuple[str, str]], width: int = 0) -> list[str]:
    """Return lines of a label and a value; the values begin in one column, `width` at least."""
    width = max([width, *(cell_len(label) + 1 for label, _ in rows)])
    return [f"{label}{' ' * (width - cell_len(label))}{value}" for label, value in rows]


class Counted(Protocol):
    """What is being done, how many units of it are done, and of how many (None: unknown).

    Words are phrases. `parts` are (name, number, of how many) of what this is a piece of.
    """

    words: str
    done: int
    total: int | None
    unit: str
    replays: int
    parts: tuple[tuple[str, int, int], ...]
    since: float


UNITS = {"calls": "{count} calls", "layers": "{count} layers"}
PARTS = {"step": "step {number} of {total}"}


def how_far(now: Counted) -> str:
    """Say it in one line: the parts, the count, the phase and for how long it has run."""
    said = [phrase(PARTS[name], number=number, total=total) for name, number, total in now.parts]
    if now.words:
        of = "" if now.total is None else f"/{max(now.total, now.done)}"
        if now.done or of:
            said.append(phrase(UNITS[now.unit], count=f"{now.done}{of}"))
        if now.replays:
            said.append(phrase("replay {count}", count=now.replays))
        said.append(phrase(now.words))
        seconds = int(time.monotonic() - now.since)
        said += [phrase("{seconds} s", seconds=seconds)] if seconds >= SLOW else []
    return comma().join(said)


class _Bar(ProgressColumn):
    """A bar of what is asked for whenever it is drawn."""

    def __init__(self, counted: Callable[[], Counted]) -> None:
        super().__init__(Column(min_width=BAR))
        self.counted = counted

    def render(self, task: Task) -> ProgressBar | Text:
        """Return the bar; nothing before anything began."""
        now = self.counted()
        total = None if now.total is None else max(now.total, now.done)
        return ProgressBar(total, now.done, BAR, pulse=total is None) if now.words else Text("")


class _Count(ProgressColumn):
    """What a `_Bar` shows, in words that are cut where the window ends."""

    def __init__(self, counted: Callable[[], Counted]) -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self.counted = counted

    def render(self, task: Task) -> Text:
        """Return the count and what is counted."""
        return Text(how_far(self.counted()))


@contextmanager
def working(
    words: str, quiet: bool = False, counted: Callable[[], Counted] | None = None
) -> Iterator[None]:
    """Say on stderr what is being done: a spinner with the time, or one line without a terminal.

    `counted` says how far it is, in calls of layers: on a terminal that is a bar.
    """
    if quiet:
        yield
        return
    console = screen(stderr=True)
    if not console.is_terminal:
        print(f"{escaped(words)} ...", file=messages(), flush=True)
        yield
        return
    time_taken = TimeElapsedColumn(Column(no_wrap=True, min_width=7))
    bar = () if counted is None else (_Bar(counted), _Count(counted))
    columns = (SpinnerColumn(), TextColumn("{task.description}"), time_taken, *bar)
    with Progress(*columns, console=console, transient=True) as shown:
        shown.add_task(words.replace("[", "\\["), total=None)
        yield


@contextmanager
def counting(words: str, total: int, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many of `total` are done.

    On a terminal that moves a bar, elsewhere it prints a line every few seconds. `words`: a phrase.
    What is left is estimated without the first, for whose sake things are made that serve all.
    """
    console = screen(stderr=True)
    if quiet:
        yield lambda done: None
    elif console.is_terminal:
        left = TimeRemainingColumn(elapsed_when_finished=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), left)
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(phrase(words), total=total)
            yield lambda done: bar.update(task, completed=done)
    else:
        yield _Lines(words, total, console.print)


class _Lines:
    def __init__(self, words: str, total: int, show: Callable[[str], None]) -> None:
        self.words, self.total, self.show = words, total, show
        self.last = time.monotonic()
        self.first: tuple[int, float] | None = None  # done, and when

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        began = self.first = self.first or (done, now)
        if now - self.last < EVERY or done >= self.total:
            return
        self.last = now
        head = f"{phrase(self.words)} {done}/{self.total}"
        if done > began[0]:
            left = duration((now - began[1]) / (done - began[0]) * (self.total - done))
            head = phrase("{head}, {left} left", head=head, left=left)
        self.show(head)


def duration(seconds: float) -> str:
    """H:MM:SS, or M:SS below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
