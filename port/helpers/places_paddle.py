"""Tensors that are written into, parts of them that are cut out and put together."""

from collections.abc import Sequence
from typing import Any

import paddle

from port.helpers.calls_paddle import pad_from_last


def write_into(tensor: Any, value: Any) -> Any:
    """Write a value over a tensor that a caller holds, too: Paddle's `+=` makes a new tensor."""
    constant = value.stop_gradient and not tensor.stop_gradient
    if constant and not tensor.is_leaf and paddle.is_grad_enabled():
        tensor.zero_()  # `assign` hands no gradient on then, and ends none
    return paddle.assign(value.astype(tensor.dtype), output=tensor)


def into(function: Any) -> Any:
    """Let a function write what it computes over its first argument: torch's `inplace=True`."""

    def called(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return write_into(tensor, function(tensor.clone(), *args, **kwargs))

    return called


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
        kept = "int32" if x.dtype == paddle.bool else x.dtype
        values = values.astype(kept).expand(places.shape).flatten()
        flat = x.clone().flatten().astype(kept)
        whole = paddle.put_along_axis(flat, places.flatten(), values, axis=0, broadcast=False)
        write_into(x, whole.reshape(x.shape))


def copy_into(tensor: Any, value: Any) -> Any:
    """Write a value over a tensor, as often as it fits: Paddle's `assign` takes its shape over."""
    return write_into(tensor, paddle.broadcast_to(value, tensor.shape))


def masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    """Put values one after the other where a mask holds: Paddle's came with 3.0."""
    mask = paddle.broadcast_to(mask, x.shape)
    counted = paddle.cumsum(mask.flatten().astype("int64"), axis=0)
    values = paddle.gather(source.flatten(), (counted - 1).clip(min=0))
    return paddle.where(mask, values.reshape(x.shape), x)


def index_copy(x: Any, axis: int, index: Any, source: Any) -> Any:
    """Put rows in the places of others along an axis: Paddle's `scatter` knows the first alone."""
    rows, more = paddle.moveaxis(x, axis, 0), paddle.moveaxis(source, axis, 0)
    return paddle.moveaxis(paddle.scatter(rows, index, more), 0, axis)


def slice_scatter(x: Any, value: Any, axis: int, start: int, stop: int, step: int = 1) -> Any:
    """Return a tensor with another in a slice of one axis: Paddle's came with 3.0."""
    shape = [1] * x.ndim
    shape[axis] = -1
    places = paddle.to_tensor(list(range(x.shape[axis])[start:stop:step])).reshape(shape)
    return paddle.put_along_axis(x, places.expand(value.shape), value, axis=axis, broadcast=False)


def hstack(tensors: Sequence[Any]) -> Any:
    """Put tensors side by side, along axis 1 or the only one: Paddle's came with 3.0."""
    tensors = [paddle.atleast_1d(one) for one in tensors]
    return paddle.concat(tensors, axis=min(tensors[0].ndim - 1, 1))


def vstack(tensors: Sequence[Any]) -> Any:
    """Put tensors one below the other, a vector as one row: Paddle's came with 3.0."""
    return paddle.concat([paddle.atleast_2d(one) for one in tensors], axis=0)


def dstack(tensors: Sequence[Any]) -> Any:
    """Put tensors one behind the other, along axis 2: Paddle's came with 3.0."""
    return paddle.concat([paddle.atleast_3d(one) for one in tensors], axis=2)


def column_stack(tensors: Sequence[Any]) -> Any:
    """Put tensors side by side, a vector as one column: Paddle's came with 3.0."""
    columns = [one if one.ndim > 1 else one.reshape([-1, 1]) for one in tensors]
    return paddle.concat(columns, axis=1)


def block_diag(tensors: Sequence[Any]) -> Any:
    """Return a matrix with others along its diagonal: Paddle's came with 3.0."""
    blocks = [paddle.atleast_2d(one) for one in tensors]
    widths = [one.shape[1] for one in blocks]
    sides = [(sum(widths[:n]), sum(widths[n + 1 :])) for n in range(len(blocks))]
    rows = [pad_from_last(one, side) for one, side in zip(blocks, sides, strict=True)]
    return paddle.concat(rows, axis=0)


def cartesian_prod(tensors: Sequence[Any]) -> Any:
    """Return all choices of one number of each, as rows: Paddle's came with 3.0."""
    if len(tensors) == 1:
        return tensors[0]
    return paddle.stack([grid.flatten() for grid in paddle.meshgrid(list(tensors))], axis=-1)


def tensor_split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Cut an axis before places, or into pieces that differ by one at most.

    Paddle's came with 3.0; what it had before takes the sizes of the pieces.
    """
    length = x.shape[axis]
    if isinstance(indices_or_sections, int):
        whole, larger = divmod(length, indices_or_sections)
        sizes = [whole + (n < larger) for n in range(indices_or_sections)]
    else:
        ends = [slice(end).indices(length)[1] for end in (*indices_or_sections, None)]
        sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    return split_views(x, sizes, axis)


def split_views(x: Any, size: Any, axis: int = 0) -> list[Any]:
    """Cut an axis into slices of one size, or of several.

    What is written into a piece of Paddle's `split` does not reach the tensor.
    """
    length, sizes = x.shape[axis], size
    if isinstance(size, int):
        sizes = [min(size, length - start) for start in range(0, length, size)]
    before, pieces, start = [slice(None)] * (axis % x.ndim), [], 0
    for one in sizes:
        pieces.append(x[(*before, slice(start, start + one))])
        start += one
    return pieces


def chunk_views(x: Any, chunks: int, axis: int = 0) -> list[Any]:
    """Cut an axis into slices: what is written into Paddle's chunks does not reach the tensor."""
    return split_views(x, -(-x.shape[axis] // chunks), axis)
