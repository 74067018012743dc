"""Which line of whose code ends the process: noted before it does, for nothing runs afterwards.

What raises (`sys.exit`, `KeyboardInterrupt`) needs none of this: `entry.exit_code` hears of it.
"""

import functools
import os
import signal
from collections.abc import Callable
from typing import Any

from common.places import caller

# Module, function, and whether it sends a signal: to the process of its first argument, or here.
ENDINGS: tuple[tuple[Any, str, bool], ...] = (
    (os, "_exit", False),
    (os, "execv", False),
    (os, "execve", False),
    (os, "kill", True),
    (os, "killpg", True),
    (signal, "raise_signal", True),
)


def note(heard: Callable[[str], object], signals_too: bool = True) -> None:
    """From now on, call `heard` with words before this process ends itself.

    `signals_too`: by a signal, which may have a handler. Copies of the process (`os.fork`) end
    themselves unheard.
    """
    for module, name, signals in ENDINGS:
        if hasattr(module, name) and (signals_too or not signals):
            words = f"{module.__name__}.{name}"
            setattr(module, name, _telling(getattr(module, name), words, heard))


def _is_here(name: str, given: tuple[Any, ...]) -> bool:
    """Tell whether a call reaches this process; signal 0 only asks whether one is there."""
    if "kill" not in name or len(given) < 2:
        return True
    return given[0] in (os.getpid(), 0, -1, os.getpgrp()) and given[1] != 0


def _telling(
    function: Callable[..., Any], name: str, heard: Callable[[str], object]
) -> Callable[..., Any]:
    this = os.getpid()

    @functools.wraps(function)
    def telling(*given: Any, **more: Any) -> Any:
        if os.getpid() == this and _is_here(name, given):
            place = caller()
            values = ", ".join(str(value)[:80] for value in given)
            heard(f"{name}({values})" + (f" ({place})" if place else ""))
        return function(*given, **more)

    return telling
