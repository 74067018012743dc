"""The modules of a torch net by path, and its buffers."""

from collections.abc import Mapping

import numpy as np
from torch import nn

from align.arrays.arrays_torch import to_array
from align.nets.calls import all_paths


def module_paths(net: nn.Module) -> dict[str, list[str]]:
    """Return {first path: all paths} of the modules of `net`."""
    return all_paths(net, lambda module: module._modules)


def copied_buffers(modules: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """Return copies of the buffers, of whatever dtype, as {"path.name": array}."""
    return {
        f"{path}.{name}".lstrip("."): to_array(buffer).copy()
        for path, module in modules.items()
        for name, buffer in module._buffers.items()
        if buffer is not None
    }
