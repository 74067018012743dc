"""Takes down the functions that bound values while the port runs."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import paddle

from align.arrays.arrays_paddle import is_tensor, to_array
from align.force.choices.watched_paddle import PaddleOperator, operators_watched
from align.record.bounds import FUNCTIONS, Apply, BoundsRecorder


class PaddleBounds(BoundsRecorder):
    """Of Paddle's tensors."""

    def is_tensor(self, value: Any) -> bool:
        """See `BoundsRecorder`."""
        return is_tensor(value)

    def ends(self, tensor: Any) -> tuple[float, float] | None:
        """See `BoundsRecorder`."""
        if tensor.dtype not in (paddle.float32, paddle.float64) or 0 in tensor.shape:
            return None
        values = to_array(tensor)
        return float(values.min()), float(values.max())

    def version(self, tensor: Any) -> int:
        """See `BoundsRecorder`."""
        return int(tensor.inplace_version)

    def constant(self, tensor: Any) -> Any:
        """See `BoundsRecorder`."""
        return tensor.detach().reshape([-1])[:1].clone() if tensor.ndim else tensor.detach().clone()

    def probed(self, apply: Apply, grid: np.ndarray) -> np.ndarray:
        """See `BoundsRecorder`."""
        with paddle.no_grad():
            return np.array(apply(paddle.to_tensor(grid)).astype("float64").numpy())


def watched(recorder: PaddleBounds) -> AbstractContextManager[None]:
    """Show `recorder` every function of `FUNCTIONS` that code calls."""
    return operators_watched(_functions(), recorder.called)


def _functions() -> Iterator[PaddleOperator]:
    """Yield each operator, and each of the tensors' own."""
    for holder in (paddle._C_ops, paddle.Tensor):
        for name, value in list(vars(holder).items()):
            operator = name.startswith("__") or holder is not paddle.Tensor
            if operator and name.strip("_") in FUNCTIONS and callable(value):
                yield PaddleOperator(holder, name, name, value)
