"""Names and shapes of the table's nets, without memory for their values."""

from collections.abc import Mapping
from typing import Any

import torch

import torch_ref


def shapes_of(row: str, options: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return {name: shape} of the state dict of row `row`, built on torch's meta device."""
    with torch.device("meta"):
        net = torch_ref.build_model(row, **options)
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
