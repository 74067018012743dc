"""Tensors of Paddle as arrays, and back. All crossing of live Paddle tensors goes through here."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle

from align.arrays.trees import is_plain


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


# Of memory that was lent to Paddle: {address: (the array that Paddle holds, its tensor)}.
_lent: dict[int, tuple[Callable[[], Any], Callable[[], Any]]] = {}


def shared(array: np.ndarray) -> paddle.Tensor:
    """Return a tensor with the memory of `array` where Paddle can, a copy elsewhere.

    Nothing may write into it.
    """
    plain = array.dtype.name in {"float32", "float64", "int32", "int64"}
    flags = array.flags
    if not (plain and array.ndim and array.size and flags.c_contiguous and flags.writeable):
        return to_tensor(array)
    # Paddle 3.3 never lets go of memory that is lent to it a second time while it has it.
    address = array.__array_interface__["data"][0]
    held, tensor = (reference() for reference in _lent.get(address, (_nothing, _nothing)))
    if held is not None:
        if tensor is None or (held.shape, held.dtype) != (array.shape, array.dtype):
            return to_tensor(array)
        return tensor.detach()
    view = array.view()
    # Paddle 2.6.2 takes the capsule only; NumPy says which arrays cannot be lent.
    tensor = paddle.utils.dlpack.from_dlpack(view.__dlpack__())
    returned = weakref.ref(view, lambda _: _lent.pop(address, None))
    _lent[address] = returned, weakref.ref(tensor)
    return tensor


def _nothing() -> None:
    return None
