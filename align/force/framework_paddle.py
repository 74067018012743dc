"""What the forced pass asks of Paddle."""
# ruff: noqa: D102 - what methods return stands in `align.force.framework`

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from align.arrays.arrays_paddle import is_tensor, shared, to_array
from align.force.framework import Cotangents
from align.nets.prepare_paddle import COMPLEX, FLOATING
from common.nets import members


def _product(tensor: paddle.Tensor, cotangent: paddle.Tensor) -> paddle.Tensor:
    """Return the scalar whose gradient at `tensor` is `cotangent`."""
    if tensor.dtype in COMPLEX:
        return (tensor.real() * cotangent.real() + tensor.imag() * cotangent.imag()).sum()
    return (tensor * cotangent).sum()


class PaddleFramework:
    """What `ForcedRun` asks of a framework."""

    def __init__(self, backward: bool) -> None:
        self.backward = backward

    def is_tensor(self, value: Any) -> bool:
        return is_tensor(value)

    def leaf(self, array: np.ndarray, like: paddle.Tensor, constant: bool = False) -> paddle.Tensor:
        tensor = shared(array)
        if like is not None and {tensor.dtype, like.dtype} == {paddle.int32, paddle.int64}:
            tensor = tensor.astype(like.dtype)  # places of a pool are int32 in Paddle
        if self.backward and tensor.dtype in FLOATING and not constant:
            tensor.stop_gradient = False
        return tensor

    def whole_number(self, tensor: paddle.Tensor) -> int | None:
        whole = tensor.dtype in (paddle.int32, paddle.int64) and tensor.size == 1
        return int(tensor) if whole and tensor.ndim < 2 else None

    def takes_gradient(self, tensor: paddle.Tensor) -> bool:
        return not tensor.stop_gradient and tensor.dtype in FLOATING

    def values(self, gradient: paddle.Tensor) -> np.ndarray:
        return to_array(gradient)

    def handed(self, leaf: paddle.Tensor, written: bool) -> paddle.Tensor:
        # The port's code may work in place where the reference's does not. Before Paddle 3.0 an
        # empty tensor has no clone, and nothing that could be written.
        return leaf.clone() if leaf.size else leaf

    def version(self, tensor: paddle.Tensor) -> int:
        return int(tensor.inplace_version)

    def alias(self, tensor: paddle.Tensor) -> paddle.Tensor:
        return tensor if tensor.stop_gradient else tensor.reshape(tensor.shape)

    def cotangent(self, array: np.ndarray, leaf: paddle.Tensor) -> paddle.Tensor | None:
        return None if leaf.stop_gradient else shared(array)

    def vjp(self, sources: Sequence[Cotangents], wrt: Sequence[paddle.Tensor]) -> list[Any | None]:
        sources = [source for source in sources if not source[0].stop_gradient]
        wanted = [tensor for tensor in wrt if not tensor.stop_gradient]
        if not sources or not wanted:
            return [None] * len(wrt)
        output, seed = sources[0][0], shared(sources[0][1])
        if len(sources) > 1 or output.dtype != seed.dtype:
            # One sum: Paddle adds gradients in place, and would do so in the memory of the first.
            parts = [_product(tensor, shared(cotangent)) for tensor, cotangent in sources]
            output, seed = paddle.add_n(parts), None
        found = iter(paddle.grad([output], wanted, [seed], allow_unused=True))
        return [None if tensor.stop_gradient else next(found) for tensor in wrt]

    def parameters(self, module: nn.Layer) -> Mapping[int, Any]:
        return {id(p): p for p in members.parameters(module) if not p.stop_gradient}
