"""What watching a step asks of Paddle."""

from collections.abc import Callable
from typing import Any

import paddle
from paddle import nn

from align.arrays.arrays_paddle import is_tensor, to_array
from align.nets.layers_paddle import layers_by_path
from commands.replay.sighting import Bad, bad_values
from common.nets import members


class PaddleTensors:
    """Tensors and layers of Paddle; see `commands.replay.watch.Tensors`."""

    is_tensor = staticmethod(is_tensor)

    def alias(self, tensor: paddle.Tensor) -> paddle.Tensor:
        """Return a copy that is a node of its own in the graph."""
        return tensor.clone()

    def bad(self, tensor: paddle.Tensor) -> Bad | None:
        """Return what is not finite; the values travel only where something is."""
        if not tensor.is_floating_point() or not tensor._is_initialized() or not tensor.size:
            return None
        if bool(paddle.isfinite(tensor.detach()).all()):
            return None
        return bad_values(to_array(tensor))

    def has_gradient(self, tensor: paddle.Tensor) -> bool:
        """Tell whether a gradient will arrive at it."""
        return not tensor.stop_gradient

    def hook(self, tensor: paddle.Tensor, function: Callable[[Any], None]) -> Callable[[], None]:
        """Call `function` with the gradient of `tensor`; return what ends that."""
        handle = tensor.register_hook(function)
        return lambda: handle.remove() and None

    def modules(self, root: Any) -> dict[str, nn.Layer]:
        """Return {path: layer}; nothing where `root` is a function."""
        return layers_by_path(root) if isinstance(root, nn.Layer) else {}

    def is_leaf(self, layer: nn.Layer) -> bool:
        """Tell whether it holds no other."""
        return not layer._sub_layers

    def parameters(self, root: Any) -> dict[str, Any]:
        """Return {name: parameter}; running statistics are none."""
        if not isinstance(root, nn.Layer):
            return {}
        return {name: p for name, p in members.named_parameters(root) if not p.stop_gradient}
