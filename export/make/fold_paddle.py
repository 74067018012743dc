"""BatchNorm folded into the convolution in front of it, which then computes both.

Which BatchNorm follows which convolution is seen in a run, not guessed from names. Whether the
folded net computes the same is checked by whoever folds (`export.verify_paddle`).
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from common.nets import members
from paddle_impl.layers import InPlaceABN


class Followers:
    """Pairs (path of a convolution, path of the BatchNorm that alone follows it), seen in a run.

    `made` knows the convolution of each output that still is: {id: (the output, path)}.
    """

    def __init__(self) -> None:
        self.made: dict[int, tuple[weakref.ref, str]] = {}
        self.by_conv: dict[str, set[str]] = {}
        self.by_norm: dict[str, set[str]] = {}

    def pairs(self) -> list[tuple[str, str]]:
        """Return those where, in every call, the one follows the other and nothing else."""
        return [
            (conv, next(iter(norms)))
            for conv, norms in self.by_conv.items()
            if len(norms) == 1 and "" not in norms and self.by_norm[next(iter(norms))] == {conv}
        ]


@contextmanager
def watching(net: nn.Layer) -> Iterator[Followers]:
    """See which BatchNorm follows which convolution while `net` runs."""
    found, hooks = Followers(), []
    for path, layer in members.named_modules(net):
        if isinstance(layer, nn.Conv2D):
            hooks.append(layer.register_forward_post_hook(_marks(path, found)))
        elif isinstance(layer, _BatchNormBase):
            hooks.append(layer.register_forward_pre_hook(_notes(path, found)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _marks(path: str, found: Followers) -> Any:
    def mark(layer: nn.Layer, inputs: Any, output: Any) -> None:
        found.made[id(output)] = weakref.ref(output), path

    return mark


def _notes(path: str, found: Followers) -> Any:
    def note(layer: nn.Layer, inputs: Any) -> None:
        made, conv = found.made.get(id(inputs[0]), (lambda: None, ""))
        conv = conv if made() is inputs[0] else ""
        found.by_conv.setdefault(conv, set()).add(path)
        found.by_norm.setdefault(path, set()).add(conv)

    return note


def fold(net: nn.Layer, pairs: list[tuple[str, str]]) -> int:
    """Fold each (convolution, BatchNorm) of `pairs` in `net`, in place; return how many.

    Computed in float64, whatever the dtype of the weights. The BatchNorm becomes an Identity.
    """
    layers = dict(members.named_modules(net))
    for conv_path, norm_path in pairs:
        conv, norm = layers[conv_path], layers[norm_path]
        scale, shift = affine(norm)
        weight = conv.weight.numpy().astype(np.float64) * scale.reshape([-1, 1, 1, 1])
        if conv.bias is not None:
            shift = shift + conv.bias.numpy().astype(np.float64) * scale
        else:
            dtype = str(conv.weight.dtype).removeprefix("paddle.")
            conv.bias = conv.create_parameter([len(shift)], dtype=dtype, is_bias=True)
        for tensor, array in ((conv.weight, weight), (conv.bias, shift)):
            tensor.set_value(array.astype(tensor.numpy().dtype))
        parent, _, name = norm_path.rpartition(".")
        (layers[parent] if parent else net)._sub_layers[name] = nn.Identity()
    return len(pairs)


def affine(norm: nn.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return (scale, shift) float64 [C]: what a BatchNorm computes in eval mode."""
    count = norm._num_features

    def values(tensor: paddle.Tensor | None, default: float) -> np.ndarray:
        return np.full(count, default) if tensor is None else tensor.numpy().astype(np.float64)

    weight = values(norm.weight, 1.0)
    if isinstance(norm, InPlaceABN):
        weight = np.abs(weight) + norm._epsilon
    scale = weight / np.sqrt(values(norm._variance, 1.0) + norm._epsilon)
    return scale, values(norm.bias, 0.0) - values(norm._mean, 0.0) * scale
