"""The state of an optimizer of the user's, whatever its slots: for checkpoints of a training."""

from collections.abc import Mapping

import numpy as np
import paddle
from paddle import nn

from common.errors import UserError
from paddle_impl.optim import trainable_parameters
from paddle_impl.train import PaddleSide, make_slots


def read_slots(
    net: nn.Layer, criterion: nn.Layer | None, optimizer: paddle.optimizer.Optimizer
) -> dict[str, np.ndarray]:
    """Return what the optimizer keeps of every parameter, as "<slot>.<name of parameter>"."""
    return {key: t.numpy().copy() for key, t in _live(net, criterion, optimizer).items()}


def _live(
    net: nn.Layer, criterion: nn.Layer | None, optimizer: paddle.optimizer.Optimizer
) -> dict[str, paddle.Tensor]:
    """Return the optimizer's own tensors; Paddle calls them <parameter>_<slot>_<number>."""
    names = {p.name: name for name, p in trainable_parameters(net, criterion).items()}
    longest = sorted(names, key=len, reverse=True)
    found: dict[str, paddle.Tensor] = {}
    state = dict(optimizer.state_dict())
    for own, tensor in state.pop("master_weights", {}).items():  # of weights in half precision
        if own in names:
            found[f"master.{names[own]}"] = tensor
    for key, tensor in state.items():
        owner = next((name for name in longest if key.startswith(f"{name}_")), None)
        if owner is not None and isinstance(tensor, paddle.Tensor):
            slot = key.removeprefix(f"{owner}_").rpartition("_")[0]
            found[f"{slot}.{names[owner]}"] = tensor
    return found


def write_slots(
    net: nn.Layer,
    criterion: nn.Layer | None,
    optimizer: paddle.optimizer.Optimizer,
    slots: Mapping[str, np.ndarray],
) -> None:
    """Set what `read_slots` gave. Gradients must be clear.

    Paddle makes its slots in the first step, so one is made at rate 0, and the weights are put
    back. Raises UserError for a name or shape that is not the net's.
    """
    parameters = trainable_parameters(net, criterion)
    made = _live(net, criterion, optimizer)
    absent = {key.partition(".")[2] for key in slots if key not in made}
    if strange := sorted(absent - set(parameters)):
        raise UserError(f"the optimizer's state is of {strange[0]}, which is not in the net")
    if absent:
        weights = {name: p.numpy().copy() for name, p in parameters.items()}
        make_slots(optimizer, [parameters[name] for name in absent])
        for name, array in weights.items():
            parameters[name].set_value(array)
        made = _live(net, criterion, optimizer)
    for key, array in slots.items():
        if key not in made or tuple(made[key].shape) != array.shape:
            raise UserError(f"{key}: the file has {array.shape}, the optimizer has no such slot")
        made[key].set_value(np.ascontiguousarray(array).reshape(array.shape))


class SideOfOwnOptimizer(PaddleSide):
    """A net whose optimizer is the user's."""

    read_slots = staticmethod(read_slots)
    write_slots = staticmethod(write_slots)
