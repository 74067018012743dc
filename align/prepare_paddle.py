"""Brings a Paddle net into the state in which it is judged, and back to the bit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import nn

FLOATING = (paddle.float16, paddle.bfloat16, paddle.float32, paddle.float64)


@contextmanager
def prepared(net: nn.Layer, *, dtype: str, train: bool) -> Iterator[None]:
    """Cast `net` to `dtype` and to the mode; put values, dtypes, modes and random state back.

    Floating parameters and buffers only are cast: `Layer.to` would cast integers too and breaks
    recurrent layers. New tensors of the net's own code get `dtype` as well.
    """
    default = paddle.get_default_dtype()
    random_state = paddle.get_rng_state()
    modes = [(layer, layer.training) for layer in net.sublayers(include_self=True)]
    tensors = _floating_tensors(net)
    kept = [(tensor, tensor.detach().clone()) for tensor in tensors]
    try:
        paddle.set_default_dtype(dtype)
        for tensor, values in kept:
            _rebind(tensor, values.cast(dtype) if values.dtype != tensor_dtype(dtype) else values)
        net.train() if train else net.eval()
        with state_kept(net):
            yield
    finally:
        for tensor, values in kept:
            _rebind(tensor, values)
        for layer, training in modes:
            layer.training = training
        paddle.set_default_dtype(default)
        paddle.set_rng_state(random_state)


@contextmanager
def state_kept(net: nn.Layer) -> Iterator[None]:
    """Give every parameter and buffer its values back at the end."""
    values = [(tensor, tensor.detach().clone()) for tensor in _tensors(net)]
    try:
        yield
    finally:
        for tensor, value in values:
            _rebind(tensor, value)


def tensor_dtype(name: str) -> Any:
    """Return Paddle's dtype called `name`."""
    return getattr(paddle, name)


def _tensors(net: nn.Layer) -> list[paddle.Tensor]:
    found = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    return list(found.values())


def _floating_tensors(net: nn.Layer) -> list[paddle.Tensor]:
    return [tensor for tensor in _tensors(net) if tensor.dtype in FLOATING]


def _rebind(tensor: paddle.Tensor, values: paddle.Tensor) -> None:
    """Make `tensor` the holder of `values`, of whatever dtype: the object stays the same."""
    # Both tensors are named: the DenseTensor of a temporary dies with it.
    target = tensor.value().get_tensor()
    source = values.value().get_tensor()
    target._share_data_with(source)
