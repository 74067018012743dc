"""Weights that a net reads among its layers."""

from typing import Any

from paddle import nn

from port.helpers.layers_paddle import weights_of


def values_of(layer: Any) -> list[Any]:
    """Return the parameters to read values from: torch's weight of a Linear is the other way."""
    inside = layer.sublayers(include_self=True)
    own = [one.parameters(include_sublayers=False) for one in inside if isinstance(one, nn.Linear)]
    turned = {id(weight) for weights in own for weight in weights if weight.ndim == 2}
    return [one.t() if id(one) in turned else one for one in weights_of(layer)]
