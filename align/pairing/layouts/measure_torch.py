"""What a module of the user's computes with a square matrix: x @ weight, or x @ weight.T."""

import copy

import numpy as np
import torch
from torch import nn

from align.pairing.layouts.products import layout_of


def measured(module: nn.Module, name: str) -> str | None:
    """Return how `module` holds its matrix `name`, None where a copy of it does not show it.

    Only of a module without children that has one matrix and else vectors; nothing of it changes.
    """
    own = {key: value for key, value in module._parameters.items() if value is not None}
    matrices = [key for key, value in own.items() if value.ndim == 2]
    if module._modules or module._buffers or matrices != [name]:
        return None
    size = own[name].shape[0]
    rng = np.random.default_rng(0)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            probe = copy.deepcopy(module).double().cpu().eval()
            getattr(probe, name).copy_(torch.from_numpy(rng.normal(size=(size, size))))
            x = torch.from_numpy(rng.normal(size=(2, size)))
            moved = (probe(x) - probe(torch.zeros_like(x))).numpy()
            return layout_of(moved, x.numpy(), getattr(probe, name).numpy())
    except Exception:  # it wants other inputs, or cannot be copied
        return None
