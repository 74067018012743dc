"""What a report says of every matched layer: classes, source lines, attributes on both sides."""

import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from align.calls import source_of
from align.pairing import Pairing
from align.report import Layer


def describe_layers(torch_net: Any, paddle_net: Any, pairing: Pairing) -> dict[str, Layer]:
    """Return {path in the port: what is known of the layer}, in the port's order."""
    from align import attributes_paddle
    from align.layers_paddle import layers_by_path
    from align.reference import reference_of

    layers, net = layers_by_path(paddle_net), reference_of(torch_net)
    found = {}
    for path, reference in pairing.partners.items():
        layer = layers[path]
        theirs, ours = net.attributes(reference), attributes_paddle.attributes(layer)
        found[path] = Layer(
            reference,
            net.class_name(reference),
            type(layer).__name__,
            net.code(reference),
            code_of(layer),
            {name: (theirs[name], ours[name]) for name in theirs if name in ours},
            sum(int(p.size) for p in layer.parameters(include_sublayers=False)),
        )
    return found


def code_of(module: Any) -> str:
    """Return `file:line` of the code that `module` runs when called; classes are read once."""
    forward = inspect.unwrap(module.forward)
    own = getattr(forward, "__func__", forward)
    if getattr(own, "__code__", None) is None:
        return source_of(module)
    return _first_line(own)


@cache
def _first_line(function: Callable[..., Any]) -> str:
    code = function.__code__
    file = Path(code.co_filename)
    here = Path.cwd()
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{code.co_firstlineno}"
