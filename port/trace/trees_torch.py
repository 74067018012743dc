"""Arguments and outputs as trees: tuples, lists and dicts of tensors and constants."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from port.trace.graph import TraceError

PLAIN = (bool, int, float, str, type(None))


def leaves_of(value: Any, text: str) -> Iterator[tuple[str, Any]]:
    """Yield (expression, leaf) of a value that is written as `text`."""
    if type(value) in (list, tuple, torch.Size):
        for number, one in enumerate(value):
            yield from leaves_of(one, f"{text}[{number}]")
    elif type(value) is dict:
        for key, one in value.items():
            yield from leaves_of(one, f"{text}[{key!r}]")
    else:
        yield text, value


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value with every leaf changed, in the order of `leaves_of`."""
    if type(value) in (list, tuple, torch.Size):
        kind = tuple if type(value) is torch.Size else type(value)
        return kind(mapped(one, change) for one in value)
    if type(value) is dict:
        return {key: mapped(one, change) for key, one in value.items()}
    return change(value)


def is_traced(leaf: Any) -> bool:
    """Tell whether a leaf is what a graph computes: a tensor, or a size that is open."""
    return isinstance(leaf, torch.Tensor | torch.SymInt)


def checked_constant(leaf: Any) -> Any:
    """Return a constant. Raises TraceError for what cannot be written down."""
    if isinstance(leaf, PLAIN) and type(leaf) in PLAIN:
        return leaf
    raise TraceError(f"it takes or gives a {type(leaf).__name__}, which a graph does not hold")
