"""Writes into a part of a tensor."""

from typing import Any

import paddle

from port.helpers.calls_paddle import write_into


class AtPlaces:
    """`AtPlaces(x)[index] = values`: the gradient of Paddle's own is not set in float64.

    Into a slice of a larger tensor Paddle's own writes to other places, or never ends.
    """

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def __getitem__(self, index: Any) -> Any:
        """Return the values at the places; `contiguous()` would cut a slice off its tensor."""
        return self.tensor.clone()[index]

    def __setitem__(self, index: Any, values: Any) -> None:
        """Write values, as many as there are places or to be spread over them."""
        x = self.tensor
        places = paddle.arange(x.size).reshape(x.shape)[index]
        if not isinstance(values, paddle.Tensor):
            values = paddle.to_tensor(values)
        values = values.astype(x.dtype).expand(places.shape).flatten()
        flat = x.clone().flatten()
        whole = paddle.put_along_axis(flat, places.flatten(), values, axis=0, broadcast=False)
        write_into(x, whole.reshape(x.shape))


def copy_into(tensor: Any, value: Any) -> Any:
    """Write a value over a tensor, as often as it fits: Paddle's `assign` takes its shape over."""
    return write_into(tensor, paddle.broadcast_to(value, tensor.shape))
