"""Tensors that a layer takes or returns in another shape than in the reference, by the rules.

A scalar may be [] there and [1] in the port. The judge, between both wrappers of a layer, sees the
reference's shapes; the layer's own code, and the code around it, see the port's.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from paddle import nn

from align.arrays.arguments import Forward
from align.arrays.arrays_paddle import is_tensor
from align.arrays.trees import map_leaves
from align.pairing.boundaries import Boundaries

Wrap = Callable[[str, nn.Layer, Forward], Forward]
Shapes = Mapping[str, tuple[int, ...]]


def in_the_references_shapes(said: Boundaries, wrap: Wrap) -> Wrap:
    """Return `wrap`, which sees the tensors of which `said` tells in the reference's shapes."""
    if not said.rules:
        return wrap

    def wrapping(path: str, layer: nn.Layer, forward: Forward) -> Forward:
        @functools.wraps(forward)
        def inside(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = _as_in_port(said, path, "input", (args, kwargs))
            return _as_in_reference(said, path, "output", forward(*args, **kwargs))

        wrapped = wrap(path, layer, inside)

        @functools.wraps(wrapped)
        def around(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = _as_in_reference(said, path, "input", (args, kwargs))
            return _as_in_port(said, path, "output", wrapped(*args, **kwargs))

        return around

    return wrapping


def _as_in_reference(said: Boundaries, path: str, where: str, tree: Any) -> Any:
    """Return `tree` with its tensors as the rules say that the reference has them."""

    def reshaped(place: str, tensor: Any) -> Any:
        shape = said.shape(path, place, tuple(tensor.shape))
        return tensor if shape is None else tensor.reshape(list(shape))

    return _each(where, tree, reshaped)


def _as_in_port(said: Boundaries, path: str, where: str, tree: Any) -> Any:
    """Return `tree` with its tensors as the port's code had them."""

    def reshaped(place: str, tensor: Any) -> Any:
        shape = said.own_shape(path, place, tuple(tensor.shape))
        return tensor if shape is None else tensor.reshape(list(shape))

    return _each(where, tree, reshaped)


def _each(where: str, tree: Any, change: Callable[[str, Any], Any]) -> Any:
    count = [0]

    def changed(leaf: Any) -> Any:
        if not is_tensor(leaf):
            return leaf
        place = f"{where}:{count[0]}"
        count[0] += 1
        return change(place, leaf)

    return map_leaves(tree, changed)
