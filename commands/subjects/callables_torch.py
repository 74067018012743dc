"""What options name of the reference's side: a net and a criterion of torch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from commands.subjects.callables import build, criterion
from common.errors import UserError
from common.nets import members


def build_torch(
    spec: str,
    arguments: Mapping[str, Any] | None = None,
    seed: int | None = None,
    option: str = "--torch",
) -> nn.Module:
    """Return the net that `option` names, with its first weights from `seed` where given."""
    if seed is not None:
        torch.manual_seed(seed)
    net: nn.Module = build(spec, option, nn.Module, arguments)
    for name, tensor in (*members.named_parameters(net), *members.named_buffers(net)):
        if tensor.is_meta:
            raise UserError(
                f"{option} {spec}: {name} is on the device meta and has no values; build the net "
                "on the CPU"
            )
    return net


def criterion_torch(spec: str) -> Any:
    """Return the criterion that `--torch-loss` names."""
    return criterion(spec, "--torch-loss", nn.Module)
