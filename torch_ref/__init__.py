"""The reference nets in PyTorch. `build_model(name)` builds a row of `common.pairs.PAIRS`."""

from typing import Any

from torch import nn

from common.pairs import build_from


def build_model(name: str, **overrides: Any) -> nn.Module:
    """Build the reference of row `name`, initialised as its authors do, in train mode.

    Overrides are the factory's keyword arguments (`num_classes=` on every segmentation net).
    Keys of its `state_dict()` are those of the authors' checkpoints. Raises UserError for an
    unknown row or option.
    """
    net: nn.Module = build_from("torch_ref", name, overrides)
    return net
