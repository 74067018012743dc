"""Layers of a port that a plain list, tuple or dict holds, so that Paddle does not see them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from paddle import nn

from common.nets import members


@dataclass(frozen=True)
class PlainHolder:
    """An attribute that hides `count` layers, and Paddle's class that would show them."""

    place: str
    holder: str
    count: int
    instead: str


def plain_holders(net: nn.Layer) -> Iterator[PlainHolder]:
    """Yield each attribute of `net` or its layers that hides layers."""
    known = {id(layer) for layer in members.modules(net)}
    every = vars(nn.Layer()).keys()  # what Paddle itself keeps in a layer
    for path, layer in members.named_modules(net):
        for name, value in vars(layer).items():
            if name.startswith("_") and name in every:
                continue
            hidden = sum(id(held) not in known for held in _layers_in(value))
            if hidden:
                kind, instead = type(value).__name__, "LayerDict"
                instead = instead if isinstance(value, dict) else "LayerList"
                where = f"{path}.{name}" if path else name
                yield PlainHolder(where, kind, hidden, instead)


def _layers_in(value: Any) -> Iterator[nn.Layer]:
    if isinstance(value, nn.Layer):
        yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _layers_in(entry)
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _layers_in(entry)
