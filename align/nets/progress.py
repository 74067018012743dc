"""Notes in a small shared file which layer is running, for a process that watches this one.

A kernel that crashes or hangs takes its process along; the file tells the watcher where it was.
"""

import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIZE = 1024
_HEAD = struct.Struct("<QH")  # number of the note, length of its text
_REFERENCE, _RAISED_IN, _RAISED_BY = "the reference", "_raised_in", "_raised_by"
_note: mmap.mmap | None = None
_count = 0
_stack: list[str] = []


@dataclass
class Progress:
    """What is being done, and how many of what is counted are done, of how many (None: unknown).

    `words`, `unit` ("calls" of layers, or "layers") and the names of `parts` are phrases
    (`common.words.language`); each part is (name, number, of how many) of what this is a piece of.
    """

    words: str = ""
    done: int = 0
    total: int | None = None
    unit: str = "calls"
    replays: int = 0
    parts: tuple[tuple[str, int, int], ...] = ()
    since: float = field(default_factory=time.monotonic)


_progress = Progress()
_counting = False


def progress() -> Progress:
    """Return how far this process is."""
    return _progress


def begin(words: str, total: int | None = None, unit: str = "calls") -> None:
    """Begin a pass over a net that will make `total` calls of layers, or other units of work."""
    global _progress
    _progress = Progress(words, 0, total, unit, parts=_progress.parts)


def advance(replays: int = 0) -> None:
    """Count one unit of what was begun; with `replays` those instead, which end no unit."""
    if replays:
        _progress.replays += replays
    else:
        _progress.done += 1


@contextmanager
def within(name: str, number: int, total: int) -> Iterator[None]:
    """Say that all that begins in the block is of part `number`, from 1, of `total`."""
    global _progress
    before = _progress.parts
    _progress = Progress("", parts=(*before, (name, number, total)))
    try:
        yield
    finally:
        _progress = Progress("", parts=before)


def count_calls() -> None:
    """From now on, count calls of layers here too, where no other process watches this one."""
    global _counting
    _counting = True


def create_note(path: str | os.PathLike[str]) -> None:
    """Write an empty note, for `open_note` in another process."""
    Path(path).write_bytes(bytes(SIZE))


def open_note(path: str | os.PathLike[str]) -> None:
    """From now on, note the running layer at `path`."""
    global _note
    with open(path, "r+b") as file:
        _note = mmap.mmap(file.fileno(), SIZE)


def read_note(path: str | os.PathLike[str]) -> tuple[int, str]:
    """Return (number of the note, what was running); the number grows with every note."""
    content = Path(path).read_bytes()
    count, length = _HEAD.unpack_from(content)
    return count, content[_HEAD.size : _HEAD.size + length].decode("utf-8", "replace")


def say(text: str) -> None:
    """Note `text`; does nothing in a process that nobody watches."""
    global _count
    if _note is None:
        return
    _count += 1
    data = text.encode()[: SIZE - _HEAD.size]
    _note[: _HEAD.size + len(data)] = _HEAD.pack(_count, len(data)) + data


@contextmanager
def doing(text: str) -> Iterator[None]:
    """Note `text` while the block runs, and what was before when it has ended."""
    _stack.append(text)
    say(text)
    try:
        yield
    finally:
        _stack.pop()
        say(_stack[-1] if _stack else f"what follows {text}")


def noted(
    path: str, module: Any, forward: Callable[..., Any], with_loss: bool = False
) -> Callable[..., Any]:
    """Return `forward` that notes and counts its layer; the same one where nobody watches.

    `with_loss`: `module` is of a `NetWithLoss`, so that its root is the loss and "net" the net's.
    """
    if _note is None and not _counting:
        return forward
    kinds = [kind.__module__.partition(".")[0] for kind in type(module).__mro__]
    side = _REFERENCE if "torch" in kinds else "the port"
    layer = f"layer {path}" if path else "the root"
    if with_loss and path in ("", "criterion"):
        layer = "the loss"
    elif with_loss:
        layer = f"layer {path[4:]}" if path.startswith("net.") else "the root"
    text = f"{layer} of {side} ({type(module).__name__})"

    def noting(*args: Any, **kwargs: Any) -> Any:
        try:
            with doing(text):
                result = forward(*args, **kwargs)
            if _progress.unit == "calls":
                _progress.done += 1
            return result
        except BaseException as error:
            vars(error).setdefault(_RAISED_IN, text)  # the innermost one hears of it first
            vars(error).setdefault(_RAISED_BY, type(module))
            raise

    return noting


def raised_in(error: BaseException) -> str:
    """Return the innermost layer that raised `error`, "" where no watched layer did."""
    return str(vars(error).get(_RAISED_IN, ""))


def raised_by(error: BaseException) -> type | None:
    """Return the class of that layer, None where no watched layer did."""
    found: type | None = vars(error).get(_RAISED_BY)
    return found


def is_of_reference(layer: str) -> bool:
    """Tell whether what `raised_in` returned is a layer of the reference."""
    return f" of {_REFERENCE}" in layer
