"""Resizes as Paddle Inference takes them: constant matrices, applied without a transpose.

oneDNN refuses every graph with an interpolation in it (an attribute of doubles), and computes
broadcast products wrongly in silence. What is left, and right: along the width the product of two
matrices, along the height a 1x1 convolution whose channels are the rows. ONNX Runtime runs both.

Where sizes are free the matrices are made in the graph, from the sizes that arrive.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F

import paddle_impl.layers
from common.errors import UserError
from common.shapes import bilinear_matrix


class CannotExport(UserError):
    """An operation of the net has no form that can be exported; the message names it."""

    exit_code = 2


@contextmanager
def exact_resizes() -> Iterator[None]:
    """Within, nets resize by matrices: exact in float64, and as an exported graph takes it.

    Changes `paddle.nn.functional.interpolate`, `avg_pool2d` over a whole map, and `resample` of
    our nets; all are put back.
    """
    own = {(F, "interpolate"): _interpolate, (F, "avg_pool2d"): _avg_pool2d}
    own[paddle_impl.layers, "resample"] = resample
    before = {place: getattr(*place) for place in own}
    for (module, name), function in own.items():
        setattr(module, name, function)
    try:
        yield
    finally:
        for (module, name), function in before.items():
            setattr(module, name, function)


_interpolate_of_paddle, _avg_pool2d_of_paddle = F.interpolate, F.avg_pool2d


@paddle.jit.not_to_static
def resample(
    x: paddle.Tensor, size: Sequence[Any], align_corners: bool = False, step: float | None = None
) -> paddle.Tensor:
    """Resize `x` [N, C, h, w] bilinearly to `size`, as `paddle_impl.layers.resample`."""
    return apply(x, size, lambda length, count: _bilinear(length, count, align_corners, step, x))


def apply(x: paddle.Tensor, size: Sequence[Any], matrix: Any) -> paddle.Tensor:
    """Apply matrix(length, count) [count, length] along the width and the height of `x`."""
    if list(x.shape[2:]) == [1, 1]:
        return x.expand([*x.shape[:2], *size])
    images, channels, rows, columns = lengths(x)
    height, width = size
    wide = paddle.matmul(x.reshape([-1, columns]), matrix(columns, width).t())
    wide = wide.reshape([-1, rows, width, 1])
    kernel = matrix(rows, height).reshape([height, rows, 1, 1])
    return F.conv2d(wide, kernel).reshape([images, channels, height, width])


def lengths(x: paddle.Tensor) -> list[Any]:
    """Return the shape of `x`: numbers, and tensors where a length is free."""
    if -1 not in x.shape:
        return list(x.shape)
    free = paddle.shape(x)
    return [free[axis] if size == -1 else size for axis, size in enumerate(x.shape)]


def is_fixed(*sizes: Any) -> bool:
    """Tell whether all are numbers."""
    return all(isinstance(size, int | np.integer) and size >= 0 for size in sizes)


def _bilinear(
    length: Any, count: Any, align_corners: bool, step: float | None, x: paddle.Tensor
) -> paddle.Tensor:
    if is_fixed(length, count):
        fixed = bilinear_matrix(int(length), int(count), align_corners, step)
        return paddle.to_tensor(fixed).astype(x.dtype)
    long, many = (_number(value) for value in (length, count))
    place = paddle.arange(0, count, 1, dtype="int64").astype("float64")
    if align_corners:
        place = place * ((long - 1) / paddle.clip(many - 1, min=1.0))
    else:
        place = (place + 0.5) * (long / many if step is None else step) - 0.5
    place = paddle.minimum(paddle.clip(place, min=0.0), long - 1)
    source = paddle.arange(0, length, 1, dtype="int64").astype("float64")
    tent = 1 - paddle.abs(place.reshape([-1, 1]) - source.reshape([1, -1]))
    return F.relu(tent).astype(x.dtype)


def _number(value: Any) -> paddle.Tensor:
    if is_fixed(value):
        return paddle.full([1], float(value), "float64")
    return value.reshape([1]).astype("float64")


def _nearest(length: Any, count: Any, x: paddle.Tensor) -> paddle.Tensor:
    if not is_fixed(length, count):
        place = paddle.arange(0, count, 1, dtype="int64") * length // count
        source = paddle.arange(0, length, 1, dtype="int64")
        return (place.reshape([-1, 1]) == source.reshape([1, -1])).astype(x.dtype)
    matrix = np.zeros([count, length])
    matrix[np.arange(count), np.arange(count) * length // count] = 1
    return paddle.to_tensor(matrix).astype(x.dtype)


@paddle.jit.not_to_static
def _interpolate(
    x: paddle.Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
    align_mode: int = 0,
    data_format: str = "NCHW",
    name: str | None = None,
    **more: Any,
) -> paddle.Tensor:
    """Stand for `F.interpolate` of images, nearest and bilinear; others go to Paddle."""
    plain = mode in ("nearest", "bilinear") and align_mode == 0 and data_format == "NCHW"
    if not plain or len(x.shape) != 4 or more:
        return _interpolate_of_paddle(
            x, size, scale_factor, mode, align_corners, align_mode, data_format, name, **more
        )
    steps: list[float | None] = [None, None]
    if size is None:
        factors = scale_factor if isinstance(scale_factor, list | tuple) else [scale_factor] * 2
        size = [
            int(length * factor) for length, factor in zip(lengths(x)[2:], factors, strict=True)
        ]
        steps = [None if align_corners else 1 / factor for factor in factors]
    size = [int(length) if is_fixed(length) else length for length in size]
    if mode == "nearest":
        return apply(x, size, lambda length, count: _nearest(length, count, x))
    if steps[0] != steps[1]:
        raise CannotExport(
            "F.interpolate with two different scale factors is not exported: give size="
        )
    return resample(x, size, align_corners, steps[0])


@paddle.jit.not_to_static
def _avg_pool2d(x: paddle.Tensor, kernel_size: Any, *given: Any, **named: Any) -> paddle.Tensor:
    """Stand for `F.avg_pool2d`: over the whole map it is a mean, whatever the size."""
    whole = not given and not named and isinstance(kernel_size, list | tuple)
    if whole and list(kernel_size) == list(x.shape[2:]):
        return F.adaptive_avg_pool2d(x, 1)
    return _avg_pool2d_of_paddle(x, kernel_size, *given, **named)
