"""Rows of numbers, rounded as PyTorch's are, and what padding="same" comes to."""

from typing import Any

import paddle


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
