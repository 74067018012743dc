"""Layers whose meaning differs between the frameworks, or that the nets of the papers share."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.errors import ConfigError, UserError
from common.shapes import bilinear_matrix


class BatchNorm2D(nn.BatchNorm2D):
    """`paddle.nn.BatchNorm2D` with torch's meaning of its statistics and constants.

    Paddle averages the biased batch variance into the running one, torch the unbiased (factor
    n / (n - 1)). Paddle's kernel holds epsilon in float32 whatever the input: in float64 the
    input is scaled by s with s^2 = float32(eps) / eps, after which the same kernel computes with
    the exact epsilon; in float32 s is 1 and nothing is done. State names and `momentum` are
    Paddle's (momentum = 1 - torch's). Input and output [N, C, H, W]. As torch, it refuses one
    value per channel in train mode.
    """

    exact_constants = True  # align/: the reference's constants need no rounding to float32

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Normalise `input` [N, C, H, W] with batch (train) or running (eval) statistics.

        Raises ValueError in train mode where a channel has a single value.
        """
        return self._normalise(input, self.weight)

    def _normalise(self, input: paddle.Tensor, scale: paddle.Tensor) -> paddle.Tensor:
        self._check_input_dim(input)
        if self.training and not self._use_global_stats:
            return self._train(input, scale)
        stretch = self._stretch(input)
        return self._kernel(input, self._mean, self._variance, scale, stretch, training=False)

    def _train(self, input: paddle.Tensor, scale: paddle.Tensor) -> paddle.Tensor:
        count = math.prod(input.shape) // self._num_features
        if count < 2:
            raise ValueError(
                f"BatchNorm in train mode needs more than one value per channel, got input of "
                f"shape {list(input.shape)}: use a batch of at least 2"
            )
        # With momentum 0 the kernel leaves the batch's own statistics in the two buffers.
        mean = paddle.zeros_like(self._mean)
        variance = paddle.zeros_like(self._variance)
        stretch = self._stretch(input)
        output = self._kernel(input, mean, variance, scale, stretch, training=True)
        with paddle.no_grad():
            unbiased = variance * (count / (count - 1) / stretch**2)
            keep = self._momentum
            self._mean.set_value(self._mean * keep + mean * ((1 - keep) / stretch))
            self._variance.set_value(self._variance * keep + unbiased * (1 - keep))
        return output

    def _stretch(self, input: paddle.Tensor) -> float:
        if input.dtype != paddle.float64 or self._epsilon == 0:
            return 1.0
        return math.sqrt(float(np.float32(self._epsilon)) / self._epsilon)

    def _kernel(
        self,
        input: paddle.Tensor,
        mean: paddle.Tensor,
        variance: paddle.Tensor,
        scale: paddle.Tensor,
        stretch: float,
        training: bool,
    ) -> paddle.Tensor:
        if stretch != 1.0:
            input = input * stretch
            if not training:
                mean, variance = mean * stretch, variance * stretch**2
        return F.batch_norm(
            input,
            mean,
            variance,
            scale,
            self.bias,
            training=training,
            momentum=0.0,
            epsilon=self._epsilon,
            data_format=self._data_format,
            use_global_stats=self._use_global_stats,
        )


class BatchNorm1D(BatchNorm2D):
    """`BatchNorm2D` of lines: input and output [N, C, L], with torch's meaning as there.

    Paddle's own of three dimensions has neither torch's running variance nor its epsilon.
    """

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Normalise `input` [N, C, L] with batch (train) or running (eval) statistics."""
        return self._normalise(input.unsqueeze(-1), self.weight).squeeze(-1)


class BatchNorm3D(BatchNorm2D):
    """`BatchNorm2D` of volumes: input and output [N, C, D, H, W], torch's meaning as there."""

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Normalise `input` [N, C, D, H, W] with batch (train) or running (eval) statistics."""
        flat = input.flatten(2).unsqueeze(-1)
        return self._normalise(flat, self.weight).reshape(input.shape)


class GroupNorm(nn.GroupNorm):
    """`paddle.nn.GroupNorm` whose epsilon is exact in float64, whatever the version holds it in.

    Paddle 2.6.2 rounds it to float32, 3.3 does not. As in `BatchNorm2D` the input is scaled by s
    with s^2 = float32(eps) / eps, and the kernel gets float32(eps), which no version rounds. Input
    and output [N, C, ...].
    """

    _epsilon: float
    exact_constants = True  # align/: the reference's constants need no rounding to float32

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Normalise `input` [N, C, ...] by the statistics of its groups of channels."""
        exact = self._epsilon
        rounded = float(np.float32(exact))
        if input.dtype != paddle.float64 or rounded in (0.0, exact):
            return super().forward(input)
        self._epsilon = rounded
        try:
            return super().forward(input * math.sqrt(rounded / exact))
        finally:
            self._epsilon = exact


class LeakyReLU(nn.LeakyReLU):
    """`paddle.nn.LeakyReLU` with torch's gradient at 0, which is the slope; Paddle's is 1.

    The slope is exact in float64: Paddle 2.6.2 holds it in float32.
    """

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return `x` where it is above 0, and `x` times the slope elsewhere."""
        return paddle.where(x > 0, x, x * paddle.full([], self._negative_slope, x.dtype))


def maximum(first: paddle.Tensor, second: paddle.Tensor) -> paddle.Tensor:
    """Return the larger of both; where they are equal each has half of the gradient, as in torch.

    Paddle 2.6.2 gives `second` all of it.
    """
    mean = (first + second) * 0.5
    return paddle.where(first > second, first, paddle.where(first < second, second, mean))


def concat(parts: Sequence[paddle.Tensor]) -> paddle.Tensor:
    """Return `parts` [n, ...] one after another: [sum of n, ...], also where each n is 0.

    Paddle 2.6.2 leaves empty tensors out, and then has nothing to put together.
    """
    held = [part for part in parts if len(part)]
    return paddle.concat(held) if held else parts[0]


class InPlaceABN(BatchNorm2D):
    """BatchNorm whose scale is |weight| + eps and that keeps no batch counter.

    This is what the authors' `InPlaceABNSync(activation="none")` computes (inplace_abn,
    src/cpu.cpp:56): the op that STDC's heads were trained with. Input and output [N, C, H, W].
    A checkpoint holds the raw weight, which may be negative.
    """

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Normalise `input` [N, C, H, W] with batch (train) or running (eval) statistics."""
        return self._normalise(input, self.scale())

    def scale(self) -> paddle.Tensor:
        """Return what normalised values are multiplied by: [C]."""
        # A tensor, not a number: Paddle 2.6.2 rounds a number that is added to float32.
        return self.weight.abs() + paddle.full_like(self.weight, self._epsilon)


class FrozenBatchNorm2D(nn.Layer):
    """BatchNorm whose scale, offset and statistics are buffers that no training moves.

    As torchvision's (ops/misc.py): names of a BatchNorm without its counter. Input and output
    [N, C, H, W].
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", paddle.ones([num_features]))
        self.register_buffer("bias", paddle.zeros([num_features]))
        self.register_buffer("running_mean", paddle.zeros([num_features]))
        self.register_buffer("running_var", paddle.ones([num_features]))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return `x` [N, C, H, W] normalised."""
        scale = self.weight * paddle.rsqrt(self.running_var + self.eps)
        offset = self.bias - self.running_mean * scale
        return x * scale.reshape([1, -1, 1, 1]) + offset.reshape([1, -1, 1, 1])


HEAD_NORMS: dict[str, type[BatchNorm2D]] = {"inplace_abn": InPlaceABN, "bn": BatchNorm2D}


def head_norm_class(name: str) -> type[BatchNorm2D]:
    """Return the class of STDC's head BatchNorms called `name`; UserError lists the names."""
    if name not in HEAD_NORMS:
        raise UserError(f"head_norm={name!r} is not known; choose one of {sorted(HEAD_NORMS)}")
    return HEAD_NORMS[name]


def kaiming_normal_(
    weight: paddle.Tensor, a: float = 0.0, mode: Literal["fan_in", "fan_out"] = "fan_in"
) -> None:
    """Fill a convolution's `weight` [out, in / groups, kh, kw] from N(0, 2 / ((1 + a^2) fan)).

    He et al., Delving Deep into Rectifiers, ICCV 2015, eq. 15. `mode` is "fan_in" or "fan_out".
    Written out because Paddle 2.6.2 knows fan_in only.
    """
    channels = weight.shape[1] if mode == "fan_in" else weight.shape[0]
    fan = channels * weight.shape[2] * weight.shape[3]
    nn.initializer.Normal(0.0, math.sqrt(2.0 / ((1 + a**2) * fan)))(weight)


def fan_in_uniform_(weight: paddle.Tensor, bias: paddle.Tensor | None = None) -> None:
    """Fill a convolution from U(-b, b), b = 1 / sqrt(fan_in): what torch.nn does by default.

    `weight` is [out, in / groups, kh, kw], or [in, out / groups, kh, kw] of a transposed one:
    torch takes all but the first dimension for the fan-in of both.
    """
    bound = 1 / math.sqrt(math.prod(weight.shape[1:]))
    nn.initializer.Uniform(-bound, bound)(weight)
    if bias is not None:
        nn.initializer.Uniform(-bound, bound)(bias)


def named_sequential(layers: Mapping[str, nn.Layer]) -> nn.Sequential:
    """Return `layers` one after the other, under their names instead of numbers."""
    return nn.Sequential(*layers.items())


def keep_statistics(net: nn.Layer, kept: float) -> None:
    """Let every BatchNorm of `net` keep the share `kept` of its old statistics in a train step.

    Raises ConfigError for a share outside 0..1.
    """
    if not 0 <= kept <= 1:
        raise ConfigError(f"bn_kept is {kept}; set a share of 0 to 1")
    for layer in net.sublayers():
        if isinstance(layer, BatchNorm2D):
            layer._momentum = kept


def freeze_parameters(net: nn.Layer) -> None:
    """Leave every parameter of `net` out of training."""
    for parameter in net.parameters():
        parameter.stop_gradient = True


def freeze_statistics(net: nn.Layer) -> None:
    """Let every BatchNorm of `net` run on the statistics that it has.

    In train mode too: that of a net around `net` passes over a `train` that `net` wrote itself.
    """
    for layer in net.sublayers():
        if isinstance(layer, BatchNorm2D):
            layer.eval()
            layer._use_global_stats = True


def resize_bilinear(
    x: paddle.Tensor, size: Sequence[int], align_corners: bool = False
) -> paddle.Tensor:
    """Return `x` [N, C, h, w] resized bilinearly to `size` (height, width), inside a net.

    `F.interpolate` holds the ratio in float32: 2e-6, which flips a ReLU here and there in the
    layers that follow, and its gradient with it. For the last layer of a net it will do.
    """
    return resample(x, size, align_corners)


def scale_bilinear(x: paddle.Tensor, factor: float) -> paddle.Tensor:
    """Return `x` [N, C, h, w] resized bilinearly to int(factor * h), int(factor * w).

    Results are 1 / factor apart in the source, even where int() cuts off a part of one. Exact,
    as in `resize_bilinear`: what `F.interpolate` is off on the image grows to 2e-3 in DeepLabV2.
    """
    size = [int(length * factor) for length in x.shape[2:]]
    return resample(x, size, step=1 / factor)


def resample(
    x: paddle.Tensor, size: Sequence[int], align_corners: bool = False, step: float | None = None
) -> paddle.Tensor:
    """Resize `x` [N, C, h, w] as `common.shapes.bilinear_matrix` does, width first.

    As products of two-dimensional matrices: oneDNN computes the broadcast ones wrongly. An export
    puts another way in the place of this function (`export.make.resizes_paddle`).
    """
    for axis in (3, 2):  # the last axis is resized and goes in front of the other
        images, channels, other, length = x.shape
        matrix = bilinear_matrix(length, size[axis - 2], align_corners, step)
        weight = paddle.to_tensor(matrix.T).astype(x.dtype)
        x = paddle.matmul(x.reshape([-1, length]), weight)
        x = x.reshape([images, channels, other, -1]).transpose([0, 1, 3, 2])
    return x
