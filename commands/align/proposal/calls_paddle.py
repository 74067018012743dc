"""Runs the port for the order of its calls."""

import paddle
from paddle import nn

from align.arrays.arrays_paddle import to_tensor
from align.arrays.batch import NetBatch
from align.arrays.trees import map_leaves
from align.nets.calls import wrapped_forwards
from align.nets.layers_paddle import layers_by_path
from align.nets.prepare_paddle import prepared, state_kept
from commands.align.proposal.noted import Noted


def calls_of_port(net: nn.Layer, batch: NetBatch, train: bool) -> list[str]:
    """Return the paths of the layers of `net` in the order of their first calls."""
    noted = Noted()
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    wrapped = wrapped_forwards(layers_by_path(net), noted.wrap)
    with paddle.no_grad(), prepared(net, dtype="float64", train=train), state_kept(net), wrapped:
        net(*args, **kwargs)
    return noted.paths
