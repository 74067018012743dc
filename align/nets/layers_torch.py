"""The modules of a torch net by path, and its buffers."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from align.arrays.arrays_torch import is_tensor, to_array
from align.nets.calls import all_paths


def module_paths(net: nn.Module) -> dict[str, list[str]]:
    """Return {first path: all paths} of the modules of `net`."""
    return all_paths(net, lambda module: module._modules)


def tables_of(net: nn.Module) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Yield (path, name, tensor) of the floating tensors that stand in no file of weights."""
    for path in module_paths(net):
        module = net.get_submodule(path)
        kept = {name: module._buffers.get(name) for name in module._non_persistent_buffers_set}
        for name, tensor in {**vars(module), **kept}.items():
            if is_tensor(tensor) and tensor.is_floating_point():
                yield path, name, tensor


def copied_buffers(modules: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """Return copies of the buffers, of whatever dtype, as {"path.name": array}."""
    return {
        f"{path}.{name}".lstrip("."): to_array(buffer).copy()
        for path, module in modules.items()
        for name, buffer in module._buffers.items()
        if buffer is not None
    }
