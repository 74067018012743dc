"""The outputs of a net as a flat list, and how far two nets' may be apart."""

from collections.abc import Mapping
from typing import Any

NET_OUTPUTS = 1e-9


# Anything before or after a bilinear resize whose ratio float32 cannot hold, as Paddle does.
INEXACT_RESIZE = 5e-6


def listed(outputs: Any) -> tuple[Any, ...]:
    """Return a net's outputs one after the other, whether it returns one, several or a dict."""
    if isinstance(outputs, Mapping):
        return tuple(outputs.values())
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
