"""Memory that was freed, given back to the system."""

import ctypes
from functools import cache
from typing import Any

WORTH = 1 << 25  # bytes: less is not worth the time that fresh pages take


def give_back() -> None:
    """Let the C library give back what it keeps of freed memory, where it can (glibc).

    It keeps pieces between those in use, and Paddle's tensors seldom fit where torch's were.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
