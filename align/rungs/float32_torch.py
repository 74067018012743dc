"""Every output of a reference, in the precision in which it stands."""

from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.arguments import Forward
from align.arrays.arrays_torch import is_tensor, to_array, to_tensor
from align.arrays.batch import NetBatch
from align.arrays.trees import leaves, map_leaves
from align.nets.calls import wrapped_forwards
from align.nets.layers_torch import module_paths
from align.nets.prepare_torch import out_of_place, state_kept
from align.record.trace import CallPlace

Outputs = dict[CallPlace, np.ndarray]


def every_output(torch_net: nn.Module, batch: NetBatch) -> Outputs:
    """Run the reference once; return the outputs of every call of every module."""
    found: Outputs = {}
    counts: dict[str, int] = {}

    def wrap(path: str, module: Any, forward: Forward) -> Forward:
        def noting(*args: Any, **kwargs: Any) -> Any:
            index = counts[path] = counts.get(path, -1) + 1
            outputs = forward(*args, **kwargs)
            tensors = [leaf for leaf in leaves(outputs) if is_tensor(leaf)]
            for position, tensor in enumerate(tensors):
                found[path, index, f"output:{position}"] = np.array(to_array(tensor))
            return outputs

        return noting

    modules = {path: torch_net.get_submodule(path) for path in module_paths(torch_net)}
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    with state_kept(torch_net), torch.no_grad(), out_of_place(torch_net):
        torch.manual_seed(0)  # the same dropout masks in both precisions
        with wrapped_forwards(modules, wrap):
            torch_net(*args, **kwargs)
    return found
