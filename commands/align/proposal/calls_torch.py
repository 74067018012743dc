"""Runs the reference for the order of its calls, and makes its weights tell one from another."""

from typing import Any

import torch
from torch import nn

from align.arrays.arrays_torch import to_tensor
from align.arrays.batch import NetBatch
from align.arrays.trees import map_leaves
from align.nets.calls import wrapped_forwards
from align.nets.layers_torch import module_paths
from align.nets.prepare_torch import prepared, state_kept
from commands.align.proposal.noted import Noted
from common.nets import members

_SPREAD = 0.25  # of the values that take the place of equal ones


def calls_of_reference(net: nn.Module, batch: NetBatch, train: bool) -> list[str]:
    """Return the paths of the modules of `net` in the order of their first calls."""
    noted = Noted()
    modules = {path: net.get_submodule(path) for path in module_paths(net)}
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    how: Any = {"dtype": torch.float64, "train": train, "float32_constants": set()}
    wrapped = wrapped_forwards(modules, noted.wrap)
    with torch.no_grad(), prepared(net, **how), state_kept(net), wrapped:
        net(*args, **kwargs)
    return noted.paths


def distinguish(net: nn.Module, seed: int) -> int:
    """Give parameters and running statistics of one value, or of another's, values of their own.

    Those of a fresh BatchNorm are all ones and zeros: exchanged ones would not show. Returns how
    many tensors were changed, by up to 0.25.
    """
    generator = torch.Generator().manual_seed(seed)
    held: dict[str, torch.Tensor] = dict(members.named_parameters(net))
    held |= {
        name: buffer
        for name, buffer in members.named_buffers(net)
        if name.rpartition(".")[2] in ("running_mean", "running_var")
    }
    changed, seen = 0, list[torch.Tensor]()
    with torch.no_grad():
        for tensor in held.values():
            if not tensor.is_floating_point() or tensor.numel() == 0:
                continue
            is_one_value = bool((tensor == tensor.flatten()[0]).all())
            if is_one_value or any(torch.equal(tensor, other) for other in seen):
                noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.add_(((2 * noise - 1) * _SPREAD).to(tensor))
                changed += 1
            seen.append(tensor)
    return changed
