"""The layers of a port: their paths, what they hold in float32, what they update."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.nn.layer import norm
from paddle.nn.utils.spectral_norm_hook import SpectralNorm

from align.arrays.arrays_paddle import is_tensor, to_array
from align.nets.calls import all_paths

# Their kernels take epsilon as float32.
ROUNDING = (norm._BatchNormBase, nn.BatchNorm, norm._InstanceNormBase, nn.LayerNorm)


def layer_paths(net: nn.Layer) -> dict[str, list[str]]:
    """Return {first path: all paths} of the layers of `net`."""
    return all_paths(net, lambda layer: layer._sub_layers)


def layers_by_path(net: nn.Layer) -> dict[str, nn.Layer]:
    """Return {first path: layer} of the distinct layers of `net`, root "" first."""
    found: dict[str, nn.Layer] = {}
    for path in layer_paths(net):
        layer = net
        for name in path.split(".") if path else ():
            layer = layer._sub_layers[name]
        found[path] = layer
    return found


def tables_of(
    layers: Mapping[str, nn.Layer], *, saved: bool
) -> Iterator[tuple[str, str, paddle.Tensor]]:
    """Yield (path, name, tensor) of the floating tensors that are held beside the parameters.

    layers: by path. With `saved` buffers that stand in files of weights, too.
    """
    for path, layer in layers.items():
        unsaved = layer._non_persistable_buffer_names_set
        buffers = {n: b for n, b in layer._buffers.items() if saved or n in unsaved}
        for name, tensor in {**vars(layer), **buffers}.items():
            if (
                is_tensor(tensor)
                and tensor.dtype in (paddle.float32, paddle.float64)
                and tensor._is_initialized()
            ):
                yield path, name, tensor


def holds_float32_constants(layer: nn.Layer) -> bool:
    """Tell whether `layer` is a normalisation whose kernel rounds epsilon to float32."""
    rounds = isinstance(layer, ROUNDING)
    if isinstance(layer, nn.GroupNorm):
        rounds = group_norm_rounds()
    return rounds and not getattr(layer, "exact_constants", False)


@cache
def group_norm_rounds() -> bool:
    """Tell whether this Paddle's GroupNorm holds epsilon in float32 (2.6.2 does, 3.3 does not)."""
    default = paddle.get_default_dtype()
    paddle.set_default_dtype("float64")
    try:
        layer = nn.GroupNorm(1, 2)
    finally:
        paddle.set_default_dtype(default)
    with paddle.no_grad():
        tiny = paddle.to_tensor(np.array([[[[1e-9]], [[-1e-9]]]]))
        found = float(layer(tiny).max())
    return abs(found / (1e-9 / np.sqrt(1e-18 + 1e-5)) - 1.0) > 1e-9


def copied_buffers(layers: Mapping[str, nn.Layer]) -> dict[str, np.ndarray]:
    """Return copies of what layers update outside the optimizer, as {"path.name": array}.

    A buffer may hold what gradients go through: a forward put there what it computed.
    """
    found = {}
    for path, layer in layers.items():
        for name, tensor in {**layer._parameters, **layer._buffers}.items():
            trained = name not in layer._buffers and tensor is not None and not tensor.stop_gradient
            # A recurrent layer has a buffer that holds no memory before it is needed.
            if tensor is not None and not trained and tensor._is_initialized():
                found[f"{path}.{name}".lstrip(".")] = np.array(to_array(tensor))
    return found


def spectral_vectors(path: str, layer: nn.Layer) -> list[str]:
    """Return the names of the first singular vectors that `paddle.nn.utils.spectral_norm` keeps."""
    hooks = [h for h in layer._forward_pre_hooks.values() if isinstance(h, SpectralNorm)]
    return [f"{path}.{hook.name}_u".lstrip(".") for hook in hooks]


def is_static(forward: Any) -> bool:
    """Tell whether a `forward` is decorated with `paddle.jit.to_static`."""
    return isinstance(forward, StaticFunction)


def synchronized(layers: Mapping[str, nn.Layer]) -> list[str]:
    """Return the paths of the layers that normalise over devices, where there are several."""
    return [path for path, layer in layers.items() if isinstance(layer, nn.SyncBatchNorm)]
