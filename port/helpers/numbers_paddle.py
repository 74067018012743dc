"""Numbers, rounded and put in order as PyTorch's are, and what padding="same" comes to."""

from typing import Any

import paddle

from port.helpers.calls_paddle import ValuesAndIndices


def linspace(start: float, end: float, steps: int, dtype: Any = None) -> Any:
    """Numbers at even distances: of float32, Paddle's differ from torch's in the last place.

    torch rounds once for a number, from the nearer end.
    """
    if (dtype or paddle.get_default_dtype()) not in ("float32", paddle.float32):
        return paddle.linspace(start, end, steps, dtype=dtype)
    first, last, gaps = paddle.to_tensor([start, end, max(steps - 1, 1)], dtype="float32")
    distance = ((last - first) / gaps).astype("float64")
    place = paddle.arange(steps, dtype="float64")
    rising = first.astype("float64") + distance * place
    falling = last.astype("float64") - distance * (steps - 1 - place)
    return paddle.where(place < max(steps // 2, 1), rising, falling).astype("float32")


def remainder(x: Any, other: Any) -> Any:
    """Return what division leaves, of the sign of `other`, and hand gradients on.

    Paddle's `%` has no gradient before 3.0, and rounds a number to float32.
    """
    if not isinstance(other, paddle.Tensor):
        other = paddle.full_like(x, other)
    with paddle.no_grad():
        whole = paddle.round((x - paddle.remainder(x, other)) / other)
    return x - whole * other


def padding_of_same(kernel_size: Any, dilation: Any = 1) -> Any:
    """Return the padding of torch's "same": Paddle's "SAME" sets the dilation to 1."""
    sizes = list(kernel_size) if isinstance(kernel_size, list | tuple) else [kernel_size]
    steps = list(dilation) if isinstance(dilation, list | tuple) else [dilation] * len(sizes)
    sizes = sizes * (len(steps) // len(sizes))
    whole = [step * (size - 1) for size, step in zip(sizes, steps, strict=True)]
    if not any(count % 2 for count in whole):
        return [count // 2 for count in whole] if len(whole) > 1 else whole[0] // 2
    if any(step != 1 for step in steps):
        raise ValueError("an even kernel that is dilated is padded on one side more")
    return "SAME"


def stable_order(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """Return the places of an axis in order, equal values as they stand: torch's `argsort`.

    Paddle's mixes them; its `stable=True` came with 3.0.
    """
    x = x.detach().moveaxis(axis, -1)
    places = paddle.argsort(x, axis=-1, descending=descending)
    values = paddle.take_along_axis(x, places, axis=-1)
    before, after = values[..., :-1], values[..., 1:]
    equal = after >= before if descending else after <= before
    equal |= paddle.isnan(after if descending else before)
    rank = paddle.cumsum(1 - equal.astype("int64"), axis=-1)
    rank = paddle.concat([paddle.zeros_like(places[..., :1]), rank], axis=-1)
    among_equals = paddle.argsort(rank * x.shape[-1] + places, axis=-1)
    return paddle.take_along_axis(places, among_equals, axis=-1).moveaxis(-1, axis)


def sort_along(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """Return (values, indices) in order: Paddle's `sort` returns values alone."""
    indices = stable_order(x, axis, descending)
    return ValuesAndIndices(paddle.take_along_axis(x, indices, axis=axis), indices)


def lower_median(x: Any, axis: int | None = None, keepdim: bool = False) -> Any:
    """Return the median, of an even count the lower; with an axis (values, indices).

    Paddle's takes the mean of two; its `mode="min"` came with 3.0.
    """
    if axis is None:
        return lower_median(x.flatten(), 0).values
    middle = (x.shape[axis] + 1) // 2
    values, indices = paddle.kthvalue(x, middle, axis=axis, keepdim=keepdim)
    broken = paddle.isnan(x).any(axis, keepdim)
    values = paddle.where(broken, paddle.full_like(values, float("nan")), values)
    return ValuesAndIndices(values, indices)
