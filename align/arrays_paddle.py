"""Tensors of Paddle as arrays, and back. All crossing of live Paddle tensors goes through here."""

from typing import Any

import numpy as np
import paddle

from align.trees import is_plain


def is_tensor(value: Any) -> bool:
    """Tell whether `value` is a tensor of Paddle."""
    return isinstance(value, paddle.Tensor)


class _Capsule:
    """What NumPy asks of an owner of memory, around the capsule that Paddle 2.6.2 gives."""

    def __init__(self, tensor: paddle.Tensor) -> None:
        self._tensor = tensor

    def __dlpack__(self, **kwargs: Any) -> Any:
        return paddle.utils.dlpack.to_dlpack(self._tensor)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # kDLCPU


def to_array(tensor: paddle.Tensor) -> np.ndarray:
    """Return the values of `tensor`, sharing its memory where it lies on the CPU."""
    tensor = tensor.detach()
    # Paddle 2.6.2 exports a transposed view as if it were contiguous.
    shares = tensor.place.is_cpu_place() and tensor.size and tensor.ndim and tensor.is_contiguous()
    if not shares or tensor.dtype in (paddle.bool, paddle.bfloat16):
        return tensor.numpy()
    return np.from_dlpack(_Capsule(tensor))


def to_tensor(array: Any) -> Any:
    """Return a tensor with a copy of `array`, gradients stopped; what is plain as it is."""
    return array if is_plain(array) else paddle.to_tensor(array)


def shared(array: np.ndarray) -> paddle.Tensor:
    """Return a tensor with the memory of `array` where Paddle can, a copy elsewhere.

    Nothing may write into it.
    """
    plain = array.dtype.name in {"float32", "float64", "int32", "int64"}
    flags = array.flags
    if not (plain and array.ndim and array.size and flags.c_contiguous and flags.writeable):
        return to_tensor(array)
    # Paddle 2.6.2 takes the capsule only; NumPy says which arrays cannot be lent.
    return paddle.utils.dlpack.from_dlpack(array.__dlpack__())
