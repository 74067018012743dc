"""Several processes of a training in Paddle: its launcher starts them, paddle.distributed adds.

Gradients are summed by `all_reduce` after the last backward pass, not by DataParallel: the
criterion has parameters too, and what no process has a gradient of has none afterwards, so that
decay leaves it alone on any number of processes. `nn.SyncBatchNorm` has no kernel on the CPU and a
biased running variance: here the statistics are summed as the gradients are.
"""

import os
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import paddle
import paddle.distributed as dist
from paddle import nn
from paddle.autograd import PyLayer
from paddle.base import core
from paddle.nn.layer.norm import _BatchNormBase

from common.processes.group import ALONE, ProcessGroup, process_lost
from common.processes.norms import joined_statistics, norms_found
from common.processes.place import Place, place_of
from common.processes.stop import signals_wait
from paddle_impl.layers import BatchNorm2D, InPlaceABN

BUCKET = 2**23  # elements that are summed at once
_POLL_S = 0.01


def start_processes(device: str, timeout_s: float) -> ProcessGroup:
    """Join the processes that Paddle's launcher started; alone without it.

    device: "cpu" (gloo) or "gpu" (nccl, one card each). timeout_s: how long one may be waited for;
    inside a step gloo has 30 s of its own.
    """
    place = place_of("paddle")
    return ALONE if place.size == 1 else PaddleGroup(place, device, timeout_s)


class PaddleGroup(ProcessGroup):
    """Several processes in Paddle."""

    def __init__(self, place: Place, device: str, timeout_s: float) -> None:
        self.rank, self.size, self.timeout_s = place.rank, place.size, timeout_s
        self.backend = "nccl" if device == "gpu" else "gloo"
        os.environ["PADDLE_DISTRI_BACKEND"] = self.backend
        os.environ["PADDLE_PG_TIMEOUT"] = str(int(timeout_s * 1000))  # of nccl
        paddle.set_device(device)
        self.meetings = 0
        try:
            dist.init_parallel_env()
        except (RuntimeError, ValueError) as error:
            raise process_lost(self.rank, self.size, _first_line(error)) from None

    def add(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of `array` over the processes."""
        tensor = paddle.to_tensor(np.array(array))
        self.add_tensor(tensor)
        total: np.ndarray = tensor.numpy()
        return total

    def add_tensor(self, tensor: paddle.Tensor) -> None:
        """Put the sum over the processes into `tensor`. Raises ProcessLostError."""
        try:
            dist.all_reduce(tensor)
        except (RuntimeError, ValueError) as error:
            raise process_lost(self.rank, self.size, _first_line(error)) from None

    def meet(self) -> None:
        """Wait until every process is here: gloo gives up after 30 s, which cannot be set."""
        if self.backend != "gloo":
            return
        self.meetings += 1
        key, since = f"torch2paddle/{self.meetings}", time.monotonic()
        try:
            here = _count(key, 1)
            while here < self.size:
                if time.monotonic() - since > self.timeout_s:
                    what = f"{here} of {self.size} were there after {self.timeout_s:g} s"
                    raise process_lost(self.rank, self.size, what)
                time.sleep(_POLL_S)
                here = _count(key, 0)
        except (RuntimeError, ValueError) as error:
            raise process_lost(self.rank, self.size, _first_line(error)) from None

    def leave(self) -> None:
        """Wait for all, then end the group."""
        self.meet()
        self.add(np.zeros(1))
        dist.destroy_process_group()

    def add_gradients(self, parameters: Iterable[paddle.Tensor]) -> None:
        """Put the sum over the processes in place of every gradient."""
        for bucket in _buckets(parameters):
            own = [paddle.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            has = paddle.to_tensor([float(p.grad is not None) for p in bucket]).astype(own[0].dtype)
            flat = paddle.concat([*(grad.detach().reshape([-1]) for grad in own), has])
            self.add_tensor(flat)
            *sums, has = paddle.split(flat, [*(grad.size for grad in own), len(bucket)])
            counts = has.astype("float32").tolist()
            for parameter, total, count in zip(bucket, sums, counts, strict=True):
                if count:
                    parameter.grad = total.reshape(parameter.shape)

    def share_buffers(self, *modules: Any) -> None:
        """Give all processes the buffers of the first one."""
        for bucket in _buckets(_moving(modules)):
            dtype = paddle.uint8 if bucket[0].dtype == paddle.bool else bucket[0].dtype
            flat = paddle.concat([buffer.detach().reshape([-1]).astype(dtype) for buffer in bucket])
            if not self.is_first:
                flat = paddle.zeros_like(flat)
            self.add_tensor(flat)
            parts = paddle.split(flat, [buffer.size for buffer in bucket])
            for buffer, part in zip(bucket, parts, strict=True):
                buffer.set_value(part.reshape(buffer.shape).astype(buffer.dtype))

    def synchronise(self, net: nn.Layer, pattern: str | None) -> None:
        """Let the BatchNorms that `pattern` finds see the images of all processes."""
        layers = net.named_sublayers(include_self=True)
        norms = {name: m for name, m in layers if isinstance(m, _BatchNormBase)}
        for name in norms_found(pattern, norms):
            layer = norms[name]
            layer.forward = partial(_synchronised, layer, layer.forward, self)


def _moving(modules: Iterable[Any]) -> Iterator[paddle.Tensor]:
    """Yield buffers and running statistics, which Paddle counts among the parameters."""
    for module in modules:
        if isinstance(module, nn.Layer):
            yield from module.buffers()
            for layer in module.sublayers(include_self=True):
                if isinstance(layer, _BatchNormBase):
                    yield from (layer._mean, layer._variance)


def _count(key: str, more: int) -> int:
    """Add to a number that all processes know; a signal would break the store's connection."""
    with signals_wait():
        return int(core.create_or_get_global_tcp_store().add(key, more))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]


def _buckets(tensors: Iterable[paddle.Tensor]) -> Iterator[list[paddle.Tensor]]:
    """Yield tensors of one dtype, of `BUCKET` elements together or a little more."""
    open_ones: dict[Any, list[paddle.Tensor]] = {}
    for tensor in {id(tensor): tensor for tensor in tensors}.values():
        bucket = open_ones.setdefault(tensor.dtype, [])
        bucket.append(tensor)
        if sum(member.size for member in bucket) >= BUCKET:
            yield open_ones.pop(tensor.dtype)
    yield from open_ones.values()


def _synchronised(
    layer: _BatchNormBase, alone: Any, group: PaddleGroup, input: paddle.Tensor
) -> paddle.Tensor:
    """Normalise `input` [N, C, ...] with the statistics of all processes in train mode.

    The running variance is unbiased in our layers, as torch's, and biased in Paddle's own.
    """
    if not layer.training or layer._use_global_stats:
        return alone(input)
    layer._check_input_dim(input)
    of_one = [layer._num_features]
    scale = paddle.ones(of_one, input.dtype) if layer.weight is None else layer.weight
    shift = paddle.zeros(of_one, input.dtype) if layer.bias is None else layer.bias
    if isinstance(layer, InPlaceABN):
        scale = layer.scale()
    axis = 1 if str(layer._data_format).startswith("NC") else input.ndim - 1
    output, mean, biased, unbiased = SynchronisedNorm.apply(
        input, scale, shift, layer._epsilon, axis, group
    )
    variance = unbiased if isinstance(layer, BatchNorm2D) else biased
    with paddle.no_grad():
        kept = layer._momentum
        for running, new in ((layer._mean, mean), (layer._variance, variance)):
            running.set_value(running * kept + new.astype(running.dtype) * (1 - kept))
    return output


class SynchronisedNorm(PyLayer):
    """BatchNorm over the images of all processes: one sum forward, one backward.

    The gradients of scale and shift are those of this process; they are summed with all others.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: paddle.Tensor,
        scale: paddle.Tensor,
        shift: paddle.Tensor,
        epsilon: float,
        axis: int,
        group: PaddleGroup,
    ) -> tuple[paddle.Tensor, ...]:
        """Return the output, and mean, biased and unbiased variance [C] of all images."""
        wide = _wide(input)
        axes = [other for other in range(input.ndim) if other != axis]
        mean = wide.mean(axes)
        squares = (wide - _along(mean, wide, axis)).square().sum(axes)
        channels = mean.shape[0]
        count = paddle.full([1], wide.size / channels, wide.dtype)
        cells = paddle.zeros([group.size, 2 * channels + 1], wide.dtype)
        cells[group.rank] = paddle.concat([mean, squares, count])
        group.add_tensor(cells)
        total, mean, squares = joined_statistics(cells)
        # A tensor, not a number: Paddle 2.6.2 rounds a number that is added to float32.
        inverse = (squares / total + paddle.full_like(mean, epsilon)).rsqrt()
        ctx.group, ctx.total, ctx.axis = group, total, axis
        ctx.learn = [not tensor.stop_gradient for tensor in (input, scale, shift)]
        ctx.save_for_backward(input, scale, mean, inverse)
        factor = _along(inverse * scale.astype(wide.dtype), wide, axis)
        normal = (wide - _along(mean, wide, axis)) * factor
        output = normal + _along(shift.astype(wide.dtype), wide, axis)
        biased, unbiased = squares / total, squares / (total - paddle.ones_like(total))
        ctx.mark_non_differentiable(mean, biased, unbiased)
        return output.astype(input.dtype), mean, biased, unbiased

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor, *_: Any) -> tuple[paddle.Tensor | None, ...]:
        """Return the gradients of input, scale and shift."""
        input, scale, mean, inverse = ctx.saved_tensor()
        wide, grad, axis = _wide(input), _wide(grad), ctx.axis
        axes = [other for other in range(input.ndim) if other != axis]
        normal = (wide - _along(mean, wide, axis)) * _along(inverse, wide, axis)
        of_shift, of_scale = grad.sum(axes), (grad * normal).sum(axes)
        means = paddle.concat([of_shift, of_scale])
        ctx.group.add_tensor(means)
        shift_mean, scale_mean = paddle.split(means / ctx.total, 2)
        inner = grad - _along(shift_mean, wide, axis) - normal * _along(scale_mean, wide, axis)
        of_input = inner * _along(inverse * scale.astype(wide.dtype), wide, axis)
        found = of_input.astype(input.dtype), of_scale.astype(scale.dtype), of_shift
        # Paddle wants None for what learns nothing.
        return tuple(g if learns else None for g, learns in zip(found, ctx.learn, strict=True))


def _wide(tensor: paddle.Tensor) -> paddle.Tensor:
    """Return a tensor of half precision in float32, any other as it is."""
    half = tensor.dtype in (paddle.float16, paddle.bfloat16)
    return tensor.astype("float32") if half else tensor


def _along(values: paddle.Tensor, input: paddle.Tensor, axis: int) -> paddle.Tensor:
    """Return `values` [C] in a shape that goes with `input`, whose channels are `axis`."""
    return values.reshape([-1 if other == axis else 1 for other in range(input.ndim)])
