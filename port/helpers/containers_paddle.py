"""What layers hold: others by places, where Paddle's Sequential knows names alone, and tensors."""

from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

import paddle
from paddle import nn


class LayersAt:
    """`LayersAt(layers)[-1] = layer`, `del`, `pop`: Paddle takes a place for the layer's name.

    What is deleted or put between others leaves the names counted anew, as in torch.
    """

    def __init__(self, layers: Any) -> None:
        self.layers = layers

    def __setitem__(self, index: int, layer: Any) -> None:
        """Put a layer in the place of another, under its name."""
        self.layers.add_sublayer(list(self.layers._sub_layers)[index], layer)

    def __delitem__(self, index: Any) -> None:
        """Leave out the layer at a place, or those of a slice."""
        kept = list(self.layers._sub_layers.values())
        del kept[index]
        self._hold(kept)

    def pop(self, index: Any) -> Any:
        """Return the layer at a place, and leave it out."""
        layer = list(self.layers._sub_layers.values())[index]
        del self[index]
        return layer

    def append(self, layer: Any) -> Any:
        """Put a layer behind the last; return all of them: Paddle 2.6 has no such method."""
        self.layers.add_sublayer(str(len(self.layers)), layer)
        return self.layers

    def insert(self, index: int, layer: Any) -> Any:
        """Put a layer before the one at a place; return all of them."""
        kept = list(self.layers._sub_layers.values())
        kept.insert(index, layer)
        return self._hold(kept)

    def extend(self, others: Any) -> Any:
        """Put further layers behind the last; return all of them."""
        return self._hold([*self.layers._sub_layers.values(), *others])

    def _hold(self, layers: list[Any]) -> Any:
        self.layers._sub_layers.clear()
        for number, layer in enumerate(layers):
            self.layers.add_sublayer(str(number), layer)
        return self.layers


class ParameterDict(nn.Layer):
    """Parameters by their names: Paddle's came with 3.0."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def update(self, parameters: Any) -> None:
        """Take further parameters: those of a plain dict in the order of their names."""
        pairs = parameters.items() if hasattr(parameters, "items") else parameters
        for name, parameter in sorted(pairs) if type(parameters) is dict else pairs:
            self[name] = parameter

    def __setitem__(self, name: str, parameter: Any) -> None:
        setattr(self, name, parameter)

    def __getitem__(self, name: str) -> Any:
        return self._parameters[name]

    def __delitem__(self, name: str) -> None:
        del self._parameters[name]

    def __contains__(self, name: str) -> bool:
        return name in self._parameters

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Any:
        return iter(self._parameters)

    def keys(self) -> Any:
        """Return the names."""
        return self._parameters.keys()

    def values(self) -> Any:
        """Return the parameters."""
        return self._parameters.values()

    def items(self) -> Any:
        """Return pairs of a name and its parameter."""
        return self._parameters.items()

    def get(self, name: str, default: Any = None) -> Any:
        """Return the parameter of a name, or the default."""
        return self._parameters.get(name, default)

    def pop(self, name: str) -> Any:
        """Return the parameter of a name, and leave it out."""
        return self._parameters.pop(name)


def hold_tensor(owner: Any, name: str, value: Any) -> None:
    """Set an attribute to a tensor: Paddle's layers would find a value of their class's first."""
    vars(owner)[name] = value


def hold_tensors(owner: Any, names: Sequence[str], values: Iterable[Any]) -> None:
    """Set attributes to one value each, of which some are tensors: see hold_tensor."""
    for name, value in zip(names, values, strict=True):
        if paddle.is_tensor(value):
            hold_tensor(owner, name, value)
        else:
            setattr(owner, name, value)


def is_of_type(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a type, and what it holds of `list[int]`, as scripts do."""
    outer, inner = get_origin(kind), get_args(kind)
    if outer is None:
        return value is kind or isinstance(value, kind)
    if outer in (Union, UnionType):
        return any(is_of_type(value, one) for one in inner)
    if not isinstance(value, outer):
        return False
    if outer is dict:
        return all(is_of_type(k, inner[0]) and is_of_type(v, inner[1]) for k, v in value.items())
    kinds = inner if outer is tuple else inner * len(value)
    return len(kinds) == len(value) and all(map(is_of_type, value, kinds))
