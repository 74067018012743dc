"""Layers of a port that a plain list, tuple or dict holds, so that Paddle does not see them."""

from collections.abc import Iterator
from typing import Any

from paddle import nn


def unregistered(net: nn.Layer) -> str:
    """Return a hint for a message, "" where no attribute hides layers."""
    return "".join(f"; {words}" for words in plain_holders(net))


def plain_holders(net: nn.Layer) -> Iterator[str]:
    """Yield one sentence for each attribute of `net` or its layers that hides layers."""
    known = {id(layer) for layer in net.sublayers(include_self=True)}
    for path, layer in net.named_sublayers(include_self=True):
        for name, value in vars(layer).items():
            if name.startswith("_") and name in vars(nn.Layer()):
                continue
            hidden = sum(id(held) not in known for held in _layers_in(value))
            if hidden:
                kind, instead = type(value).__name__, "LayerDict"
                instead = instead if isinstance(value, dict) else "LayerList"
                where = f"{path}.{name}" if path else name
                yield (
                    f"{where} is a plain Python {kind} of {hidden} layers, which Paddle does not "
                    f"see: make it a paddle.nn.{instead}"
                )


def _layers_in(value: Any) -> Iterator[nn.Layer]:
    if isinstance(value, nn.Layer):
        yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _layers_in(entry)
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _layers_in(entry)
