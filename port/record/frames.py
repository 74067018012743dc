"""Frames as the user's code sees them: those of the questions between them are not its own.

Registries name themselves after the module that calls them, two frames above.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

_HERE = str(Path(__file__).parent)


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
