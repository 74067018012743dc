"""The ports in PaddlePaddle. `build_model(name)` builds a row of `common.pairs.PAIRS`."""

from typing import Any

from paddle import nn

from common.pairs import build_from


def build_model(name: str, **overrides: Any) -> nn.Layer:
    """Build the port of row `name`, initialised as its authors do, in train mode.

    Overrides are the factory's keyword arguments (`num_classes=` on every segmentation net). The
    layer carries its row's name as `pair_name`, so that conversion applies this row's rules to
    it and to no other net. Raises UserError for an unknown row or option.
    """
    net: nn.Layer = build_from("paddle_impl", name, overrides)
    net.pair_name = name
    return net
