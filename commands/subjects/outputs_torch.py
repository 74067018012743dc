"""What the reference gives for the inputs of an option."""

from typing import Any

import numpy as np
import torch

from align.arrays.arrays_torch import is_tensor, to_array, to_tensor
from align.arrays.batch import Inputs, as_batch
from align.arrays.trees import map_leaves
from align.nets.prepare_torch import prepared


def outputs_of(torch_net: Any, inputs: Inputs) -> tuple[Any, np.ndarray]:
    """Return (outputs of the reference in train mode, label) for inputs that end with a label."""
    batch = as_batch(inputs, "float64", labelled=True)
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    settings: Any = {"dtype": torch.float64, "train": True, "float32_constants": set()}
    with torch.no_grad(), prepared(torch_net, **settings):
        outputs = torch_net(*args, **kwargs)
    assert batch.label is not None
    arrays = map_leaves(outputs, lambda leaf: to_array(leaf) if is_tensor(leaf) else leaf)
    return arrays, batch.label
