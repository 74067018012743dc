"""Frames as the user's code sees them: those of the questions between them are not its own.

Registries name themselves after the module that calls them, two frames above.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from port.record.attribute import attribute
from port.record.facts import Holder
from port.record.instrument import ASKED

_HERE = str(Path(__file__).parent)
ATTRIBUTE = ""  # the name of a holder that is an attribute of a layer: nobody knows who reads it


class FrameWalker:
    """Answers what `sys._getframe`, `frame.f_back` and `inspect.stack` are asked."""

    def frame(self, function: Any, /, depth: int = 0) -> Any:
        """Return the frame `depth` calls above the caller; ValueError where there is none."""
        if function is not sys._getframe:
            return function(depth)
        found: FrameType | None = sys._getframe(1)
        for _ in range(depth):
            found = self.back(found)
        if found is None:
            raise ValueError("call stack is not deep enough")
        return found

    def back(self, thing: Any) -> Any:
        """Return `thing.f_back`, of a frame past those of the questions."""
        above = thing.f_back
        while isinstance(thing, FrameType) and above is not None and _is_ours(above):
            above = above.f_back
        return above

    def own_only(self, stack: Sequence[Any]) -> list[Any]:
        """Return what `inspect.stack` found, without the frames of the questions."""
        return [one for one in stack if not _is_ours(one.frame)]


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_HERE)


def holders(tensor: Any) -> set[Holder]:
    """Return what holds a tensor now, of the functions of recorded files that are running.

    A list, tuple or dict by its local name; an attribute of `self`, itself or such a one.
    """
    found: set[Holder] = set()
    for frame in _frames():
        asker = frame.f_globals.get(ASKED)
        if asker is None:
            continue
        place, local = (asker.file.module, frame.f_lineno), frame.f_locals
        found |= {(*place, name) for name, value in local.items() if _holds(value, tensor)}
        owner = local.get("self")
        if attribute(owner, "_modules") is not None and any(
            value is tensor or _holds(value, tensor) for value in _attributes(owner)
        ):
            found.add((*place, ATTRIBUTE))
    return found


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _attributes(owner: Any) -> Iterable[Any]:
    kept = ("_parameters", "_buffers", "_modules")
    return [value for name, value in vars(owner).items() if name not in kept]


def _holds(value: Any, tensor: Any) -> bool:
    """Tell whether a plain list, tuple or dict has a tensor among its items."""
    if isinstance(value, Mapping):
        return type(value).__module__ in ("builtins", "collections") and any(
            one is tensor for one in attribute(value, "values")()
        )
    return type(value) in (list, tuple) and any(one is tensor for one in value)
