"""Regular expressions of rules and configs, in bounded time: some try for ages to match nothing.

Python looks for signals while it matches; a timer of the processor's seconds sends one. Where there
is none (Windows, a thread that is not the first) nothing is bounded.
"""

import re
import signal
import threading
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any

from common.errors import ConfigError

SECONDS = 2.0  # of the processor, that patterns may take together
EACH = 1e-4  # that every match may take beside them
_left = [SECONDS]
_timed = [False]


def fault_of(pattern: str) -> str:
    """Say why a text is no regular expression, "" where it is one."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return str(error)
    return ""


class _TooLongError(Exception):
    """The time of a pattern is over."""


def matches(pattern: str, text: str) -> bool:
    """Tell whether `pattern` is found anywhere in `text`; ConfigError where that takes too long."""
    return _in_time(lambda: re.search(pattern, text) is not None, pattern, text)


def replaced(pattern: str, to: str, text: str) -> str:
    """Return `text` with every match replaced; ConfigError where that takes too long."""
    return _in_time(lambda: re.sub(pattern, to, text), pattern, text)


def _in_time(work: Callable[[], Any], pattern: str, text: str) -> Any:
    if not _branches(pattern) or not _can_be_timed():
        return work()
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, max(_left[0], EACH))
        _timed[0] = True
        try:
            return work()
        finally:
            _timed[0] = False
            left, _ = signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            _left[0] = min(SECONDS, left + EACH)
    except _TooLongError:
        raise ConfigError(
            f"the pattern {pattern[:200]!r} takes too long on {text[:200]!r}: it can match one "
            "text in many ways; repeat nothing that holds a repetition itself, and anchor it"
        ) from None


@cache
def _branches(pattern: str) -> bool:
    """Tell whether a pattern has several places at which a match can go on in two ways."""
    return sum(pattern.count(sign) for sign in "*+?{|") > 1


def _can_be_timed() -> bool:
    """Tell whether the timer is there and nobody else's; take it where it is nobody's."""
    if not hasattr(signal, "setitimer"):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    held = signal.getsignal(signal.SIGVTALRM)
    if held is signal.SIG_DFL:
        signal.signal(signal.SIGVTALRM, _over)
    return held is signal.SIG_DFL or held is _over


def _over(number: int, frame: FrameType | None) -> None:
    if _timed[0]:
        raise _TooLongError
