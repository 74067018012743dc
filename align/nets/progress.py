"""Notes in a small shared file which layer is running, for a process that watches this one.

A kernel that crashes or hangs takes its process along; the file tells the watcher where it was.
"""

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE = 1024
_HEAD = struct.Struct("<QH")  # number of the note, length of its text
_REFERENCE, _RAISED_IN = "the reference", "_raised_in"
_note: mmap.mmap | None = None
_count = 0
_stack: list[str] = []


@dataclass
class Progress:
    """What is being done, how many calls of layers it made, and of how many (None: unknown)."""

    words: str = ""
    done: int = 0
    total: int | None = None


_progress = Progress()


def progress() -> Progress:
    """Return how far this process is."""
    return _progress


def begin(words: str, total: int | None = None) -> None:
    """Begin a pass over a net that will make `total` calls of layers."""
    global _progress
    _progress = Progress(words, 0, total)


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
    """Return `forward` that notes its layer; the same one where nobody watches.

    `with_loss`: `module` is of a `NetWithLoss`, so that its root is the loss and "net" the net's.
    """
    if _note is None:
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
            _progress.done += 1
            return result
        except BaseException as error:
            vars(error).setdefault(_RAISED_IN, text)  # the innermost one hears of it first
            raise

    return noting


def raised_in(error: BaseException) -> str:
    """Return the innermost layer that raised `error`, "" where no watched layer did."""
    return str(vars(error).get(_RAISED_IN, ""))


def is_of_reference(layer: str) -> bool:
    """Tell whether what `raised_in` returned is a layer of the reference."""
    return f" of {_REFERENCE}" in layer
