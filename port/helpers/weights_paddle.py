"""Weights that a net reads, or writes, among its layers."""

from typing import Any

from paddle import nn

from port.helpers.layers_paddle import Parameter, weights_of
from port.helpers.places_paddle import write_into


def values_of(layer: Any) -> list[Any]:
    """Return the parameters to read values from: torch's weight of a Linear is the other way."""
    inside = layer.sublayers(include_self=True)
    own = [one.parameters(include_sublayers=False) for one in inside if isinstance(one, nn.Linear)]
    turned = {id(weight) for weights in own for weight in weights if weight.ndim == 2}
    return [one.t() if id(one) in turned else one for one in weights_of(layer)]


def set_data(tensor: Any, value: Any) -> None:
    """Let a tensor hold another's data, and no more: in Paddle 2.6 it stops gradients as that."""
    stops, name = tensor.stop_gradient, tensor.name
    tensor.data = value
    tensor.stop_gradient, tensor.name = stops, name


def state_of(layer: Any) -> dict[str, Any]:
    """Return a layer's tensors to write into, by torch's names: what is trained takes no writes."""
    inside = layer.sublayers(include_self=True)
    turned = {id(one.weight) for one in inside if isinstance(one, nn.Linear)}
    names = {"_mean": "running_mean", "_variance": "running_var"}
    found = {}
    for key, tensor in layer.state_dict().items():
        *path, name = key.split(".")
        held = tensor.detach()  # of the same memory
        key = ".".join([*path, names.get(name, name)])
        found[key] = held.t() if id(tensor) in turned else held
    return found


def load_state_of(layer: Any, state: Any, strict: bool = True) -> Any:
    """Load a state dict of torch's names and order: Paddle keeps a Linear's weight turned."""
    counted = ".num_batches_tracked"  # which Paddle's BatchNorm has not
    given = {key: one for key, one in state.items() if not f".{key}".endswith(counted)}
    own = state_of(layer)
    missing = [key for key in own if key not in given]
    unexpected = [key for key in given if key not in own]
    if strict and (missing or unexpected):
        raise RuntimeError(f"the state dict lacks {missing} and has {unexpected} too many")
    for key in own.keys() & given.keys():
        if list(own[key].shape) != list(given[key].shape):
            raise RuntimeError(f"{key} is {own[key].shape}, the state dict has {given[key].shape}")
        write_into(own[key], given[key].detach().clone())
    return missing, unexpected


class Parametrized(nn.Layer):
    """What a weight is made from, in the order of torch's axes: `original`, and layers to go by."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.original = Parameter(value)

    def forward(self) -> Any:
        """Return the weight, in that order."""
        made = self.original
        for layer in self.children():
            made = layer(made)
        return made


def register_parametrization(layer: Any, name: str, parametrization: Any) -> Any:
    """Let a weight be made anew wherever it is read, by a layer of its own: Paddle has no such."""
    kind, turned = type(layer), isinstance(layer, nn.Linear) and name == "weight"
    if "parametrizations" not in layer._sub_layers:
        layer.parametrizations = nn.LayerDict()
    if name not in layer.parametrizations:
        value = layer._parameters.pop(name)
        layer.parametrizations[name] = Parametrized(value.t() if turned else value)
        made = (lambda one: one.t()) if turned else (lambda one: one)
        read = property(lambda one: made(one.parametrizations[name]()))
        layer.__class__ = type(f"Parametrized{kind.__name__}", (kind,), {name: read})
    held = layer.parametrizations[name]
    if hasattr(parametrization, "right_inverse"):
        held.original.set_value(parametrization.right_inverse(held.original.detach()))
    held.add_sublayer(str(len(held._sub_layers)), parametrization)
    return layer
