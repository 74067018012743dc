"""The modes of a net, handed on layer by layer."""

from typing import Any

from paddle import nn


class LayerWithModes(nn.Layer):
    """A layer that reaches those inside it by their `train(mode)`: Paddle's sets flags alone."""

    def train(self, mode: bool = True) -> Any:
        """Set the mode of this layer and of those inside it; return the layer."""
        if mode:
            nn.Layer.train(self)
        else:
            nn.Layer.eval(self)
        follow_mode(self, mode)
        return self

    def eval(self) -> Any:
        """Set eval mode by `train`, which a class may have of its own; return the layer."""
        if self.__dict__.get("_begins_eval"):  # its own `train` asks for this one
            return LayerWithModes.train(self, False)
        self.__dict__["_begins_eval"] = True
        try:
            self.train(False)
        finally:
            self.__dict__["_begins_eval"] = False
        return self


def follow_mode(layer: Any, mode: bool) -> None:
    """Hand a mode on to the layers inside, through containers too."""
    for child in layer._sub_layers.values():
        if isinstance(child, LayerWithModes):
            child.train(mode)
        elif child is not None:
            follow_mode(child, mode)


def set_mode(layer: Any, mode: bool = True) -> Any:
    """Set the mode of a layer, and return it: `train` of Paddle 2.6 takes no mode."""
    if isinstance(layer, LayerWithModes):
        return layer.train(mode)
    if mode:
        layer.train()
    else:
        layer.eval()
    follow_mode(layer, mode)
    return layer
