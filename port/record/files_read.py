"""Files of settings that a net's own code reads: they come along into the port.

A constructor finds them beside its package. Weights are none, and what is large is not either.
"""

import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

from port.record.facts import Reader
from port.record.instrument import ASKED

# Of text, of tables of numbers, and Python's own: what is no module, and is read as text.
# fmt: off
KINDS = (
    ".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".conf", ".txt", ".csv", ".tsv", ".xml",
    ".names", ".data", ".npy", ".txt.gz", ".json.gz", ".py",
)
# fmt: on
LARGEST = 2 << 20  # bytes; vocabularies of texts have more than one MiB
# What opens a file of Python's to look for modules, or to show a line of it.
_OTHERS = frozenset({"port.record.hook_torch", "linecache", "inspect"})
_watching: "WeakSet[FilesRead]" = WeakSet()


class FilesRead:
    """The files that code of recorded modules opened to read, and by which lines, since it began.

    readers: {path: lines of recorded files, with those that called them}.
    """

    def __init__(self) -> None:
        self.readers: dict[Path, set[Reader]] = {}
        self._written: set[Path] = set()
        _hooked()
        _watching.add(self)

    def ends(self) -> dict[Path, set[Reader]]:
        """Return those that are settings, and watch no longer."""
        _watching.discard(self)
        return {
            path: lines
            for path, lines in sorted(self.readers.items())
            if path not in self._written and path.is_file() and path.stat().st_size <= LARGEST
        }

    def opened(self, path: Path, writes: bool) -> None:
        """Note that code opens a file."""
        lines = set(_recorded_lines())
        if writes:
            self._written.add(path)
        elif lines and not (path.suffix == ".py" and _is_imported()):
            self.readers.setdefault(path, set()).update(lines)


def _recorded_lines() -> Iterator[Reader]:
    frame = sys._getframe(1)
    while frame is not None:
        if (asker := frame.f_globals.get(ASKED)) is not None:
            yield asker.file.module, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]  # None at the end


def _is_imported() -> bool:
    """Tell whether a recorded line has a file opened by an import, and does not read it itself.

    One that calls a loader with a path does: `spec.loader.exec_module(module)`.
    """
    frame = sys._getframe(1)
    while frame is not None and ASKED not in frame.f_globals:
        asks = frame.f_globals.get("__name__")
        if asks in _OTHERS or frame.f_code.co_name == "_find_and_load":
            return True
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return False


@cache
def _hooked() -> None:
    sys.addaudithook(_told)


def _told(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what Python tells of: a path (or the number of a file), the mode, the flags."""
    if event != "open" or not _watching:
        return
    path, mode, flags = arguments
    path = os.fsdecode(path) if isinstance(path, bytes) else path
    if isinstance(path, str) and path.endswith(".pyc"):
        path = _source_of(path)
    if isinstance(path, str) and path.lower().endswith(KINDS):
        writes = bool(set(mode or "") & set("wax+")) or bool(
            (flags or 0) & (os.O_WRONLY | os.O_RDWR)
        )
        for one in list(_watching):
            one.opened(Path(os.path.abspath(path)), writes)


def _source_of(compiled: str) -> str | None:
    """Return the path of what Python compiled, None where its name does not tell."""
    try:
        return source_from_cache(compiled)
    except ValueError:
        return None
