"""Names and shapes of the table's nets, without memory for their values."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

import torch_ref


def shapes_of(row: str, options: Mapping[str, Any]) -> Mapping[str, tuple[int, ...]]:
    """Return {name: shape} of the state dict of row `row`, built on torch's meta device."""
    return _shapes_of(row, tuple(options.items()))


@cache
def _shapes_of(row: str, options: tuple[tuple[str, Any], ...]) -> Mapping[str, tuple[int, ...]]:
    with torch.device("meta"):
        net = torch_ref.build_model(row, **dict(options))
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
