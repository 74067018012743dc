"""Small targets cross to NumPy and back: what a loss decides there is decided once."""

import numpy as np
import torch
from torch import Tensor


def array_of(tensor: Tensor) -> np.ndarray:
    """Return the values of `tensor`, without its gradient."""
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array


def tensor_like(array: np.ndarray, tensor: Tensor) -> Tensor:
    """Return `array` in the dtype of `tensor` and beside it; no gradient."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(tensor.device, tensor.dtype)
