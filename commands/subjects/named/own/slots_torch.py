"""The state of an optimizer of the user's, whatever its slots: for checkpoints of a training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from common.errors import UserError
from torch_ref.optim import trainable_parameters
from torch_ref.train import TorchSide

_NUMBER = "number:"  # a slot that is a plain number, and is one again


def read_slots(
    net: nn.Module, criterion: nn.Module | None, optimizer: torch.optim.Optimizer
) -> dict[str, np.ndarray]:
    """Return what the optimizer keeps of every parameter, as "<slot>.<name of parameter>"."""
    found: dict[str, np.ndarray] = {}
    for name, parameter in trainable_parameters(net, criterion).items():
        for slot, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                found[f"{slot}.{name}"] = value.detach().cpu().numpy().copy()
            elif isinstance(value, int | float):
                found[f"{_NUMBER}{slot}.{name}"] = np.asarray(value)
    return found


def write_slots(
    net: nn.Module,
    criterion: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    slots: Mapping[str, np.ndarray],
) -> None:
    """Set what `read_slots` gave. Raises UserError for a parameter that is not the net's."""
    parameters = trainable_parameters(net, criterion)
    for key, array in slots.items():
        slot, _, name = key.partition(".")
        if name not in parameters:
            raise UserError(f"{slot} of {name}: there is no such tensor in the net")
        held: Any = array.item() if slot.startswith(_NUMBER) else torch.from_numpy(array.copy())
        if isinstance(held, torch.Tensor) and held.ndim:
            held = held.to(parameters[name].device)
        optimizer.state[parameters[name]][slot.removeprefix(_NUMBER)] = held


class SideOfOwnOptimizer(TorchSide):
    """A net whose optimizer is the user's."""

    read_slots = staticmethod(read_slots)
    write_slots = staticmethod(write_slots)
