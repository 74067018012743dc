"""What stands as a value in torch, and is called, built or inherited with torch's arguments."""

from collections.abc import Callable
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from port.helpers.calls_paddle import pad_from_last, repeated


def linear_with(input: Any, weight: Any, bias: Any = None) -> Any:
    """Apply a matrix kept as torch keeps a Linear's: [out, in], where Paddle's is [in, out]."""
    return F.linear(input, weight.t(), bias)


def padded(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """Pad the last axes first, of any rank: Paddle asks for the rank in a word of its own."""
    if mode == "constant":
        return pad_from_last(input, pad, value or 0.0)
    return F.pad(input, list(pad), mode=mode, data_format=["NCL", "NCHW", "NCDHW"][input.ndim - 3])


def tuples_of(times: int) -> Callable[[Any], Any]:
    """Return what makes `times` of one number, and leaves several: `_ntuple`."""
    return lambda x: repeated(x, times)


class LossBase(nn.Layer):
    """The base of torch's losses, which keeps how they are reduced."""

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if size_average is not None or reduce is not None:
            whole = "sum" if size_average is False else "mean"
            reduction = "none" if reduce is False else whole
        self.reduction = reduction


class LossWithWeight(LossBase):
    """The base of torch's losses that have a weight for each class, in a buffer."""

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class ConvOfAnyRank(nn.layer.conv._ConvNd):
    """The base of convolutions, built as torch's: the kernel's sizes tell the rank."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        transposed: bool,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str = "zeros",
    ) -> None:
        axes = len(kernel_size)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            transposed,
            axes,
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
            bias_attr=None if bias else False,
            data_format=["NCL", "NCHW", "NCDHW"][axes - 1],
        )


class FloatFunctional(nn.Layer):
    """PyTorch's layer of plain sums and products, which quantization could watch."""

    def add(self, x: Any, y: Any) -> Any:
        """Return the sum."""
        return x + y

    def mul(self, x: Any, y: Any) -> Any:
        """Return the product."""
        return x * y

    def cat(self, x: Any, axis: int = 0) -> Any:
        """Return tensors one behind the other."""
        return paddle.concat(x, axis=axis)

    def add_scalar(self, x: Any, y: float) -> Any:
        """Return the sum with a number."""
        return x + y

    def mul_scalar(self, x: Any, y: float) -> Any:
        """Return the product with a number."""
        return x * y

    def matmul(self, x: Any, y: Any) -> Any:
        """Return the product of matrices."""
        return x @ y

    def add_relu(self, x: Any, y: Any) -> Any:
        """Return the sum where it is above zero."""
        return F.relu(x + y)


class QuantStub(nn.Layer):
    """PyTorch's mark of where quantization would begin: its input as it is."""

    def __init__(self, qconfig: Any = None) -> None:
        super().__init__()
        if qconfig is not None:
            self.qconfig = qconfig

    def forward(self, x: Any) -> Any:
        """Return x."""
        return x


class DeQuantStub(QuantStub):
    """PyTorch's mark of where quantization would end: its input as it is."""


class Generator:
    """Stands for torch's: Paddle draws all its numbers with one, which `paddle.seed` begins."""

    def manual_seed(self, seed: int) -> "Generator":
        """Keep a seed; no other numbers come of it."""
        self.seed = seed
        return self
