"""Small targets cross to NumPy and back: what a loss decides there is decided once."""

import numpy as np
import paddle
from paddle import Tensor


def array_of(tensor: Tensor) -> np.ndarray:
    """Return the values of `tensor`, without its gradient."""
    array: np.ndarray = tensor.numpy()
    return array


def tensor_like(array: np.ndarray, tensor: Tensor) -> Tensor:
    """Return `array` in the dtype of `tensor` and beside it; no gradient."""
    return paddle.to_tensor(np.ascontiguousarray(array)).astype(tensor.dtype)
