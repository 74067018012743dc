"""Tensors of torch as arrays, and back."""

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import torch

from align.arrays.trees import is_plain


def is_tensor(value: Any) -> bool:
    """Tell whether `value` is a tensor of torch."""
    return isinstance(value, torch.Tensor)


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """Return the values of `tensor`, sharing its memory where it lies on the CPU."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    if tensor.is_complex() or tensor.is_neg():  # a lazy conjugate, or the imaginary part of one
        tensor = tensor.resolve_conj().resolve_neg()
    return tensor.numpy()


def to_tensor(array: Any) -> Any:
    """Return a tensor with a copy of `array`; None, numbers and text as they are."""
    if is_plain(array):
        return array
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def alias(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same memory that is a node of its own in the graph.

    Not a view: when code writes into a view, autograd bypasses the view's node and its hooks.
    """
    other: torch.Tensor = _Alias.apply(tensor)
    return other


class _Alias(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def scalar_of(outputs: Sequence[torch.Tensor], cotangents: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return a scalar whose gradients at `outputs` are `cotangents`.

    For `torch.autograd.backward(outputs, cotangents)` torch imports SymPy and its own tracing of
    shapes, 35 MB.
    """
    scalar: torch.Tensor = _Scalar.apply(list(cotangents), *outputs)
    return scalar


class _Scalar(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cotangents: list[torch.Tensor], *outputs: torch.Tensor) -> torch.Tensor:
        ctx.cotangents = cotangents
        return torch.zeros((), dtype=torch.float64)  # complex ones have no gradient by themselves

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return None, *ctx.cotangents
