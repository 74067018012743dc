"""What commands ask of a live net of Paddle: its outputs as arrays."""

from typing import Any

import numpy as np
import paddle

from align.arrays.arrays_paddle import is_tensor, to_array, to_tensor
from align.arrays.trees import leaves, map_leaves


def tensors_in_order(net: Any, args: tuple, kwargs: dict[str, Any]) -> list[np.ndarray]:
    """Return the tensors that the net gives for arrays, in order; no gradient is recorded."""
    args, kwargs = map_leaves((args, kwargs), to_tensor)
    with paddle.no_grad():
        outputs = leaves(net(*args, **kwargs))
    return [to_array(leaf) for leaf in outputs if is_tensor(leaf)]
