"""The port runs as its user runs it, and on what a graph gave: what arrives, what leaves."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn.layer import norm

from align.arrays.arrays_paddle import is_tensor, to_array, to_tensor
from align.arrays.batch import NetBatch
from align.arrays.trees import leaf_names, leaves, map_leaves
from align.nets.prepare_paddle import prepared
from align.witness.port_pass import FromGraph, Key, PortPass

NORMS = (norm._BatchNormBase, nn.BatchNorm)


def run_port(
    net: nn.Layer,
    layers: Mapping[str, nn.Layer],
    batch: NetBatch,
    dtype: str,
    given: Mapping[Key, FromGraph] | None = None,
) -> PortPass:
    """Run `net` in eval mode in `dtype` and return what it showed.

    layers: {first path: layer}. given: each call takes the reference's input, and hands on its
    output, where that has the same shape; without it the net runs as it is. The net is as before.
    """
    seen = PortPass()
    arguments = map_leaves((batch.args, dict(batch.kwargs)), lambda leaf: _tensor(leaf, dtype))
    with prepared(net, dtype=dtype, train=False), _watched(layers, seen, given), paddle.no_grad():
        returned = net(*arguments[0], **arguments[1])
    tensors = [
        (name, leaf) for name, leaf in zip(leaf_names(returned), leaves(returned), strict=True)
    ]
    seen.returned = [np.array(to_array(leaf)) for _, leaf in tensors if is_tensor(leaf)]
    seen.names = [name for name, leaf in tensors if is_tensor(leaf)]
    return seen


def _tensor(leaf: Any, dtype: str) -> Any:
    is_float = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"
    return to_tensor(leaf.astype(dtype) if is_float else leaf)


@contextmanager
def _watched(
    layers: Mapping[str, nn.Layer], seen: PortPass, given: Mapping[Key, FromGraph] | None
) -> Iterator[None]:
    """Note what every layer but the root gets and gives while the block runs."""
    made: dict[int, tuple[str, Any]] = {}  # {identity of an output: (layer, itself, kept alive)}
    with ExitStack() as stack:
        for path, layer in layers.items():
            if path:
                before, after = _hooks(path, seen, given, made)
                for hook in (
                    layer.register_forward_pre_hook(before),
                    layer.register_forward_post_hook(after),
                ):
                    stack.callback(hook.remove)
        yield


def _hooks(
    path: str,
    seen: PortPass,
    given: Mapping[Key, FromGraph] | None,
    made: dict[int, tuple[str, Any]],
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    running: list[int] = []
    count = 0

    def before(layer: nn.Layer, inputs: Any) -> Any:
        nonlocal count
        running.append(count)
        key, count = (path, count), count + 1
        seen.order.append(key)
        first = inputs[0] if inputs and is_tensor(inputs[0]) else None
        if first is None:
            return None
        if isinstance(layer, NORMS) and id(first) in made:
            seen.followers[path] = made[id(first)][0]
        wanted = given.get(key) if given else None
        if wanted is None or wanted.source is None:
            return None
        seen.sources[key] = np.array(to_array(first))
        if not _fits(wanted.source, first):
            return None
        return (_like(wanted.source, first), *inputs[1:])

    def after(layer: nn.Layer, inputs: Any, returned: Any) -> Any:
        key = (path, running.pop())
        tensors = [leaf for leaf in leaves(returned) if is_tensor(leaf)]
        if len(tensors) != 1:
            return None
        innermost = made.get(id(tensors[0]), ("", None))[0]
        if not given and not innermost.startswith(f"{path}."):
            made[id(tensors[0])] = path, tensors[0]
        wanted = given.get(key) if given else None
        if wanted is None or wanted.output is None:
            return None
        seen.outputs[key] = np.array(to_array(tensors[0]))
        if not _fits(wanted.output, tensors[0]):
            return None
        return map_leaves(
            returned, lambda leaf: _like(wanted.output, leaf) if is_tensor(leaf) else leaf
        )

    return before, after


def _fits(array: np.ndarray, tensor: paddle.Tensor) -> bool:
    return list(array.shape) == list(tensor.shape)


def _like(array: np.ndarray | None, tensor: paddle.Tensor) -> paddle.Tensor:
    return paddle.to_tensor(array).astype(tensor.dtype)
