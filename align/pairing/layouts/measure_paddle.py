"""What a layer of the user's computes with a square matrix: x @ weight, or x @ weight.T."""

import copy
from typing import Any

import numpy as np
import paddle
from paddle import nn

from align.pairing.layouts.products import layout_of


def measured(layer: nn.Layer, name: str) -> str | None:
    """Return how `layer` holds its matrix `name`, None where a copy of it does not show it.

    Only of a layer without children that has one matrix and else vectors; nothing of it changes.
    """
    own = {key: value for key, value in layer._parameters.items() if value is not None}
    matrices = [key for key, value in own.items() if len(value.shape) == 2]
    if list(layer.children()) or list(layer.buffers()) or matrices != [name]:
        return None
    state: Any = paddle.get_rng_state()
    try:
        with paddle.no_grad():
            probe = copy.deepcopy(layer)
            probe.eval()
            weight = getattr(probe, name)
            dtype = str(weight.dtype).removeprefix("paddle.")
            rng, size = np.random.default_rng(0), weight.shape[0]
            weight.set_value(rng.normal(size=(size, size)).astype(dtype))
            x = rng.normal(size=(2, size)).astype(dtype)
            moved = probe(paddle.to_tensor(x)) - probe(paddle.zeros([2, size], dtype))
            return layout_of(moved.numpy(), x, weight.numpy())
    except Exception:  # it wants other inputs, or cannot be copied
        return None
    finally:
        paddle.set_rng_state(state)
