"""What watching a step asks of torch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from align.arrays.arrays_torch import alias, is_tensor, to_array
from align.nets.layers_torch import module_paths
from commands.replay.sighting import Bad, bad_values
from common.nets import members


class TorchTensors:
    """Tensors and modules of torch; see `commands.replay.watch.Tensors`."""

    is_tensor = staticmethod(is_tensor)
    alias = staticmethod(alias)

    def bad(self, tensor: torch.Tensor) -> Bad | None:
        """Return what is not finite; the values travel only where something is."""
        if not tensor.is_floating_point() or bool(tensor.detach().isfinite().all()):
            return None
        return bad_values(to_array(tensor))

    def has_gradient(self, tensor: torch.Tensor) -> bool:
        """Tell whether a gradient will arrive at it."""
        return tensor.requires_grad

    def hook(self, tensor: torch.Tensor, function: Callable[[Any], None]) -> Callable[[], None]:
        """Call `function` with the gradient of `tensor`; return what ends that."""
        handle = tensor.register_hook(function)
        return handle.remove

    def modules(self, root: Any) -> dict[str, nn.Module]:
        """Return {path: module}; nothing where `root` is a function."""
        if not isinstance(root, nn.Module):
            return {}
        return {path: root.get_submodule(path) for path in module_paths(root)}

    def is_leaf(self, module: nn.Module) -> bool:
        """Tell whether it holds no other and writes into no input."""
        return not module._modules and not getattr(module, "inplace", False)

    def parameters(self, root: Any) -> dict[str, Any]:
        """Return {name: parameter}."""
        return dict(members.named_parameters(root)) if isinstance(root, nn.Module) else {}
