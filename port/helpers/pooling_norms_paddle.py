"""Layers that Paddle has not, in part, or not as exactly: pooling with gaps, resizing, norms."""

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from port.helpers.calls_paddle import (
    batch_norm_of_itself,
    group_norm_without_weight,
    length_and_step,
    max_along,
    repeated,
    resize_area,
    resize_nearest_exact,
)


def dilated_max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the largest of the pixels that a kernel with gaps meets: Paddle's has no dilation."""
    height, width = repeated(kernel_size, 2)
    steps = repeated(kernel_size if stride is None else stride, 2)
    rows, columns = repeated(dilation, 2)
    spans = (rows * (height - 1) + 1, columns * (width - 1) + 1)
    counts, pads = [], []
    for size, pad, span, step in zip(x.shape[2:], repeated(padding, 2), spans, steps, strict=True):
        left = size + 2 * pad - span
        count = (left + step - 1 if ceil_mode else left) // step + 1
        count -= ceil_mode and (count - 1) * step >= size + pad  # begins behind the picture
        counts.append(count)
        pads.append([pad, max(pad, (count - 1) * step + span - size - pad)])
    x = F.pad(x, [*pads[1], *pads[0]], value=-float("inf"))
    (m, n), (down, right) = counts, steps
    met = [
        x[:, :, top : top + (m - 1) * down + 1 : down, side : side + (n - 1) * right + 1 : right]
        for top in range(0, rows * height, rows)
        for side in range(0, columns * width, columns)
    ]
    return max_along(paddle.stack(met), axis=0)[0]


class DilatedMaxPool2D(nn.MaxPool2D):
    """Max pooling by a kernel with gaps: Paddle's has no dilation."""

    stands_for = nn.MaxPool2D

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.dilation = dilation

    def forward(self, x: Any) -> Any:
        """x: [N, C, H, W]."""
        return dilated_max_pool2d(
            x, self.ksize, self.stride, self.padding, self.dilation, self.ceil_mode
        )


class Resized(nn.Layer):
    """Upsample of whichever mode: Paddle's has no "nearest-exact", and asks "area" for a size."""

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners

    def forward(self, x: Any) -> Any:
        """x: [N, C, ...], of one to three axes of space."""
        if self.mode == "nearest-exact":
            return resize_nearest_exact(x, self.size, self.scale_factor)
        if self.mode == "area":
            return resize_area(x, self.size, self.scale_factor)
        axes = x.ndim - 2
        size, factor = (
            None if one is None else list(repeated(one, axes))
            for one in (self.size, self.scale_factor)
        )
        line = axes == 1 and self.mode == "nearest"  # which Paddle's wants as a picture
        if line:
            x = x.unsqueeze(-1)
            size, factor = (None if one is None else [*one, 1] for one in (size, factor))
        resized = F.interpolate(
            x,
            size=size,
            scale_factor=factor,
            mode=self.mode,
            align_corners=bool(self.align_corners),
            data_format="NCHW" if line else ("NCW", "NCHW", "NCDHW")[axes - 1],
        )
        return resized.squeeze(-1) if line else resized


def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalise groups of channels: before 3.0, Paddle has it as a layer alone."""
    by_channel = [1, -1, *[1] * (x.ndim - 2)]
    scaled = group_norm_without_weight(x, num_groups, eps)
    scaled = scaled if weight is None else scaled * weight.reshape(by_channel)
    return scaled if bias is None else scaled + bias.reshape(by_channel)


class CentredGroupNorm(nn.GroupNorm):
    """GroupNorm that squares what is left of the mean: Paddle's takes the mean's square away.

    Of two values a group that lie far from zero, and near to each other, that loses digits.
    """

    def forward(self, x: Any) -> Any:
        """Return [N, C, ...] with every group of channels normalised."""
        return group_norm(x, self._num_groups, self.weight, self.bias, self._epsilon)


class _WithStatistics(nn.layer.norm._InstanceNormBase):
    """What instance norms share that keep running statistics: Paddle's keep none."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
    ) -> None:
        given = None if affine else False
        super().__init__(num_features, epsilon=eps, weight_attr=given, bias_attr=given)
        self._momentum = 1 - momentum
        self.register_buffer("running_mean", paddle.zeros([num_features]))
        self.register_buffer("running_var", paddle.ones([num_features]))
        self.register_buffer("num_batches_tracked", paddle.zeros([], dtype="int64"))

    def forward(self, x: Any) -> Any:
        """Return [N, C, ...], normalised by each image's own statistics while it is trained."""
        if not self.training:
            statistics = (self.running_mean, self.running_var)
            return F.batch_norm(x, *statistics, self.scale, self.bias, epsilon=self._epsilon)
        axes = list(range(2, x.ndim))
        with paddle.no_grad():
            self._average(self.running_mean, x.mean(axes).mean(0))
            self._average(self.running_var, x.var(axes).mean(0))
        return F.instance_norm(x, weight=self.scale, bias=self.bias, eps=self._epsilon)

    def _average(self, running: Any, new: Any) -> None:
        running.set_value(running * self._momentum + new * (1 - self._momentum))


class _OfTheBatch(nn.layer.norm._BatchNormBase):
    """What batch norms share that use the batch's own statistics in eval mode, too.

    Paddle's keep running statistics whatever they use, and their state has them.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = True) -> None:
        given = None if affine else False
        super().__init__(num_features, epsilon=eps, weight_attr=given, bias_attr=given)
        for name in ("_mean", "_variance"):
            self._buffers.pop(name, None)
            setattr(self, name, None)

    def forward(self, x: Any) -> Any:
        """Return [N, C, ...] with every channel normalised over the batch."""
        return batch_norm_of_itself(x, self.weight, self.bias, self._epsilon)


class InstanceNorm1DWithStatistics(_WithStatistics, nn.InstanceNorm1D):
    """InstanceNorm1d(track_running_stats=True): Paddle's keeps no running statistics."""

    stands_for = nn.InstanceNorm1D


class InstanceNorm2DWithStatistics(_WithStatistics, nn.InstanceNorm2D):
    """InstanceNorm2d(track_running_stats=True): Paddle's keeps no running statistics."""

    stands_for = nn.InstanceNorm2D


class InstanceNorm3DWithStatistics(_WithStatistics, nn.InstanceNorm3D):
    """InstanceNorm3d(track_running_stats=True): Paddle's keeps no running statistics."""

    stands_for = nn.InstanceNorm3D


class BatchNorm1DWithoutStatistics(_OfTheBatch, nn.BatchNorm1D):
    """BatchNorm1d(track_running_stats=False): the batch's own statistics in eval mode, too."""

    stands_for = nn.BatchNorm1D


class BatchNorm2DWithoutStatistics(_OfTheBatch, nn.BatchNorm2D):
    """BatchNorm2d(track_running_stats=False): the batch's own statistics in eval mode, too."""

    stands_for = nn.BatchNorm2D


class BatchNorm3DWithoutStatistics(_OfTheBatch, nn.BatchNorm3D):
    """BatchNorm3d(track_running_stats=False): the batch's own statistics in eval mode, too."""

    stands_for = nn.BatchNorm3D


class GroupNormWithoutWeight(nn.GroupNorm):
    """GroupNorm(affine=False): the gradient of Paddle's, without a weight, is another."""

    stands_for = nn.GroupNorm

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5) -> None:
        super().__init__(num_groups, num_channels, epsilon=eps, weight_attr=False, bias_attr=False)
        for name in ("weight", "bias"):
            self._parameters.pop(name, None)
            setattr(self, name, None)

    def forward(self, x: Any) -> Any:
        """Return [N, C, ...] with every group of channels normalised."""
        return group_norm_without_weight(x, self._num_groups, self._epsilon)


def freezable_layer_norm(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, epsilon: float = 1e-5
) -> Any:
    """Normalise the last axes: of a frozen weight Paddle's gradient leaves the weight out."""
    if weight is None or not weight.stop_gradient:
        return F.layer_norm(x, normalized_shape, weight, bias, epsilon)
    count = 1 if isinstance(normalized_shape, int) else len(normalized_shape)
    last = x.shape[x.ndim - count :]
    scaled = F.layer_norm(x, normalized_shape, epsilon=epsilon) * weight.reshape(last)
    return scaled if bias is None else scaled + bias.reshape(last)


class FreezableLayerNorm(nn.LayerNorm):
    """LayerNorm whose weight may be frozen: Paddle's gradient leaves the weight out then."""

    def forward(self, x: Any) -> Any:
        """Return x, of any shape that ends in that of the layer, normalised."""
        shape, weight, bias = self._normalized_shape, self.weight, self.bias
        return freezable_layer_norm(x, shape, weight, bias, self._epsilon)


def resize_linear(
    x: Any, size: Any = None, scale_factor: Any = None, align_corners: bool = False
) -> Any:
    """Resize [N, C, ...] linearly along each axis: Paddle's places its samples in float32, and
    those of one row or column before the first.
    """
    for axis in range(2, x.ndim):
        last = x.shape[axis] - 1
        places = sampled_places(x, axis, size, scale_factor, align_corners)
        places = [min(max(place, 0.0), float(last)) for place in places]
        low = [int(place) for place in places]
        shares = [place - one for place, one in zip(places, low, strict=True)]
        taken = ((0, [1 - share for share in shares]), (1, shares))
        x = weighted_along(x, axis, [([min(n + k, last) for n in low], w) for k, w in taken])
    return x


def resize_bicubic(
    x: Any, size: Any = None, scale_factor: Any = None, align_corners: bool = False
) -> Any:
    """Resize [N, C, H, W] by cubic curves: Paddle's places its samples in float32, and those of
    one row or column before the first.
    """
    for axis in range(2, x.ndim):
        last = x.shape[axis] - 1
        places = sampled_places(x, axis, size, scale_factor, align_corners)
        low = [int(place // 1) for place in places]
        shares = [place - one for place, one in zip(places, low, strict=True)]
        taken = []
        for k in (-1, 0, 1, 2):
            weights = [cubic_weight(abs(share - k)) for share in shares]
            taken.append(([min(max(n + k, 0), last) for n in low], weights))
        x = weighted_along(x, axis, taken)
    return x


def sampled_places(
    x: Any, axis: int, size: Any, scale_factor: Any, align_corners: bool
) -> list[float]:
    """Return where along an axis each sample of a resized image lies."""
    new, step = length_and_step(x, axis, size, scale_factor)
    if align_corners:
        step = (x.shape[axis] - 1) / (new - 1) if new > 1 else 0.0
        return [i * step for i in range(new)]
    return [(i + 0.5) * step - 0.5 for i in range(new)]


def cubic_weight(distance: float) -> float:
    """Return the weight of a pixel so far from a sample, by the cubic that torch takes."""
    if distance <= 1:
        return (1.25 * distance - 2.25) * distance * distance + 1
    return ((-0.75 * distance + 3.75) * distance - 6) * distance + 3


def weighted_along(x: Any, axis: int, taken: list[tuple[list[int], list[float]]]) -> Any:
    """Return the sum of parts of `x`: each picks places along `axis` and weighs them."""
    shape = [1] * x.ndim
    shape[axis] = -1
    parts = [
        paddle.index_select(x, paddle.to_tensor(places), axis=axis)
        * paddle.to_tensor(weights, dtype=x.dtype).reshape(shape)
        for places, weights in taken
    ]
    return paddle.add_n(parts)


class UpsampleByHand(nn.Upsample):
    """Upsample whose samples lie where torch's do, where an axis comes to one pixel, too."""

    def forward(self, x: Any) -> Any:
        """Return `x` [N, C, ...] resized."""
        resize = resize_bicubic if self.mode == "bicubic" else resize_linear
        return resize(x, self.size, self.scale_factor, self.align_corners)
