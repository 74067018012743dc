"""Which line of a net's or a criterion's code made a value, found while the code runs.

Python's own tracing tells before every line what the variables hold: what is new there and not
finite was made by the line before. So it works in either framework, and in code without layers.
"""

import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from align.arrays.trees import leaves
from common.places import is_users

_HOME = Path(__file__).resolve().parents[2]
_TWINS = tuple(f"{_HOME / room}/" for room in ("torch_ref", "paddle_impl"))
_OF_THE_STEP = ("train.py", "optim.py")  # of the twins: they run nets, and are none
BACKWARD_CODE = "backward"  # how a function that differentiates itself is called in either one


@cache
def is_of_nets(filename: str) -> bool:
    """Tell whether a file of code is that of a net or a criterion: the user's, or one of ours."""
    ours = filename.startswith(_TWINS) and Path(filename).name not in _OF_THE_STEP
    return ours or is_users(filename)


def running_line() -> str:
    """Return "file:line, in name" of the innermost running line of a net, "" without one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_of_nets(frame.f_code.co_filename):
        frame = frame.f_back
    return "" if frame is None else _place(frame, frame.f_lineno)


class Lines:
    """Tells `made(name, tensor, place, backward)` of every tensor that a line of a net made.

    is_tensor: of the framework. `backward`: the code differentiates. What `made` gets is new to it.
    """

    def __init__(
        self,
        is_tensor: Callable[[Any], bool],
        made: Callable[[str, Any, str, bool], None],
    ) -> None:
        self.is_tensor, self.made = is_tensor, made
        self.seen: dict[int, weakref.ref] = {}
        self.before: dict[int, int] = {}  # the line that ran, by frame

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow the code of the block; a debugger that was there comes back."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, value: Any) -> Any:
        if not is_of_nets(frame.f_code.co_filename):
            return None
        self.before[id(frame)] = frame.f_lineno
        caller = frame.f_back
        if caller is not None and is_of_nets(caller.f_code.co_filename):  # made on the way here
            for name, held in list(frame.f_locals.items()):
                self._look(name, held, caller, caller.f_lineno)
        return self._line

    def _line(self, frame: FrameType, event: str, value: Any) -> Any:
        line = self.before.get(id(frame), frame.f_lineno)
        if event in ("line", "return"):
            for name, held in list(frame.f_locals.items()):
                self._look(name, held, frame, line)
        if event == "return":
            self._look("", value, frame, line)
            self.before.pop(id(frame), None)
        else:
            self.before[id(frame)] = frame.f_lineno
        return self._line

    def _look(self, name: str, held: Any, frame: FrameType, line: int) -> None:
        tensors = [leaf for leaf in leaves(held) if self.is_tensor(leaf)]
        for tensor in tensors:
            known = self.seen.get(id(tensor))
            if known is not None and known() is tensor:
                continue
            self.seen[id(tensor)] = weakref.ref(tensor)
            backward = frame.f_code.co_name == BACKWARD_CODE
            self.made(name, tensor, _place(frame, line), backward)


def _place(frame: FrameType, line: int) -> str:
    file, here = Path(frame.f_code.co_filename), Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    return f"{shown}:{line}, in {frame.f_code.co_name}"
