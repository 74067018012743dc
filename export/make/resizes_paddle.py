"""Resizes as Paddle Inference takes them: constant matrices, applied without a transpose.

oneDNN refuses every graph with an interpolation in it (an attribute of doubles), and computes
broadcast products wrongly in silence. What is left, and right: along the width the product of two
matrices, along the height a 1x1 convolution whose channels are the rows, or, for large maps, a
product for each channel, whose result needs no other layout. ONNX Runtime runs all of them.

Where sizes are free the matrices are made in the graph, from the sizes that arrive.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F

import paddle_impl.layers
from common.errors import UserError
from common.shapes import bilinear_matrix

# Products of one channel from which on a convolution's layout costs more than it saves: 6 % of
# STDC1-Seg's whole time at 512x1024, where its last resize has 33 million.
LARGE = 4_000_000


class CannotExport(UserError):
    """An operation of the net has no form that can be exported; the message names it."""

    exit_code = 2


@dataclass
class Resizes:
    """The bilinear resizes of a run: (result, what was resized, align_corners).

    They are kept only where `remembered` is set: a run of a large image has large tensors.
    """

    remembered: bool = False
    seen: list[tuple[paddle.Tensor, paddle.Tensor, bool]] = field(default_factory=list)

    def source_of(self, result: paddle.Tensor) -> tuple[paddle.Tensor, bool] | None:
        """Return (what `result` was resized from, align_corners); None where it was not."""
        found = [row[1:] for row in self.seen if row[0] is result]
        return found[0] if found else None


_resizes = Resizes()


@contextmanager
def exact_resizes(remembered: bool = False) -> Iterator[Resizes]:
    """Within, nets resize by matrices: exact in float64, and as an exported graph takes it.

    Changes `paddle.nn.functional.interpolate`, `avg_pool2d` over a whole map, adaptive average
    pools (which paddle2onnx rounds to equal windows, 4 % off in PSPNet), `conv1d` of width 1
    (whose sum with another tensor Paddle Inference fuses across a transpose, in GloRe), and
    `resample` of our nets; all are put back.
    """
    own: dict[tuple[Any, str], Any] = {
        (F, "interpolate"): _interpolate,
        (F, "avg_pool2d"): _avg_pool2d,
        (F, "adaptive_avg_pool2d"): _adaptive_avg_pool2d,
        (F, "conv1d"): _conv1d,
    }
    own[paddle_impl.layers, "resample"] = resample
    before = {place: getattr(*place) for place in own}
    for (module, name), function in own.items():
        setattr(module, name, function)
    _resizes.remembered = remembered
    try:
        yield _resizes
    finally:
        _resizes.seen.clear()
        for (module, name), function in before.items():
            setattr(module, name, function)


_interpolate_of_paddle, _avg_pool2d_of_paddle = F.interpolate, F.avg_pool2d
_adaptive_avg_pool2d_of_paddle, _conv1d_of_paddle = F.adaptive_avg_pool2d, F.conv1d


@paddle.jit.not_to_static
def resample(
    x: paddle.Tensor, size: Sequence[Any], align_corners: bool = False, step: float | None = None
) -> paddle.Tensor:
    """Resize `x` [N, C, h, w] bilinearly to `size`, as `paddle_impl.layers.resample`."""
    made = apply(x, size, lambda length, count: _bilinear(length, count, align_corners, step, x))
    if _resizes.remembered:
        _resizes.seen.append((made, x, align_corners))
    return made


def apply(x: paddle.Tensor, size: Sequence[Any], matrix: Any) -> paddle.Tensor:
    """Apply matrix(length, count) [count, length] along the width and the height of `x`."""
    if list(x.shape[2:]) == [1, 1]:
        return x.expand([*x.shape[:2], *size])
    channels, rows, columns = lengths(x)[1:]
    height, width = size
    wide = paddle.matmul(x.reshape([-1, columns]), matrix(columns, width).t())
    if not is_fixed(rows, height, width):  # oneDNN keeps the kernels of convolutions
        high = wide.reshape([-1, rows, width]).transpose([0, 2, 1]).reshape([-1, rows])
        high = paddle.matmul(high, matrix(rows, height).t())
        return high.reshape([-1, channels, width, height]).transpose([0, 1, 3, 2])
    if is_fixed(x.shape[0]) and rows * height * width >= LARGE:
        # Of four axes, so that the large result is not reshaped: oneDNN copies it.
        each = paddle.tile(matrix(rows, height).unsqueeze([0, 1]), [x.shape[0], channels, 1, 1])
        return paddle.matmul(each, wide.reshape([x.shape[0], channels, rows, width]))
    kernel = matrix(rows, height).reshape([height, rows, 1, 1])
    return F.conv2d(wide.reshape([-1, rows, width, 1]), kernel).reshape(
        [-1, channels, height, width]
    )


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
    apart = place.reshape([-1, 1]) - source.reshape([1, -1])
    # Not 1 - |apart|: Paddle Inference 3.3.1 loses the absolute value.
    tent = paddle.minimum(1 - apart, 1 + apart)
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
    plain = not given and not named and isinstance(kernel_size, list | tuple)
    free = plain and not is_fixed(*kernel_size)  # only the map's own size is not a number
    if free or (plain and list(kernel_size) == list(x.shape[2:])):
        return _adaptive_avg_pool2d_of_paddle(x, 1)
    return _avg_pool2d_of_paddle(x, kernel_size, *given, **named)


@paddle.jit.not_to_static
def _adaptive_avg_pool2d(
    x: paddle.Tensor, output_size: Any, data_format: str = "NCHW", name: str | None = None
) -> paddle.Tensor:
    """Stand for `F.adaptive_avg_pool2d`: a mean over the whole map, else a matrix of windows."""
    sizes = output_size if isinstance(output_size, list | tuple) else [output_size] * 2
    if list(sizes) == [1, 1] or None in sizes or data_format != "NCHW":
        return _adaptive_avg_pool2d_of_paddle(x, output_size, data_format, name)
    return apply(x, list(sizes), lambda length, count: _windows(length, count, x))


def _windows(length: Any, count: int, x: paddle.Tensor) -> paddle.Tensor:
    """Return [count, length]: the means of adaptive windows, from floor to ceiling."""
    place = paddle.arange(0, count, 1, dtype="int64").reshape([-1, 1])
    source = paddle.arange(0, length, 1, dtype="int64").reshape([1, -1])
    first, end = place * length // count, ((place + 1) * length + count - 1) // count
    inside = paddle.logical_and(source >= first, source < end)
    return inside.astype(x.dtype) / (end - first).astype(x.dtype)


@paddle.jit.not_to_static
def _conv1d(
    x: paddle.Tensor, weight: paddle.Tensor, bias: Any = None, *given: Any, **named: Any
) -> paddle.Tensor:
    """Stand for `F.conv1d`: one of width 1 is a product of two matrices."""
    usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "data_format": "NCL"}
    plain = all(_is(named.get(key, value), value) for key, value in usual.items())
    if given or not plain or weight.shape[2] != 1:
        return _conv1d_of_paddle(x, weight, bias, *given, **named)
    out, taken = weight.shape[:2]
    length = lengths(x)[2]
    rows = x.transpose([0, 2, 1]).reshape([-1, taken])
    made = paddle.matmul(rows, weight.reshape([out, taken]).t())
    made = made if bias is None else made + bias
    return made.reshape([-1, length, out]).transpose([0, 2, 1])


def _is(given: Any, value: Any) -> bool:
    return given in (value, [value], (value,))
