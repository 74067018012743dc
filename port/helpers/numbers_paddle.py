"""Rows of numbers, rounded as PyTorch's are."""

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
