"""Several processes of a training in PyTorch: torchrun starts them, torch.distributed adds.

Gradients are summed by `all_reduce` after the last backward pass, not by DistributedDataParallel:
the criterion has parameters too, and what no process has a gradient of has none afterwards, so that
decay leaves it alone on any number of processes.
"""

import datetime
import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from common.processes.group import ALONE, ProcessGroup, process_lost
from common.processes.norms import joined_statistics, norms_found
from common.processes.place import Place, place_of
from torch_ref.layers import InPlaceABN

BUCKET = 2**23  # elements that are summed at once


def start_processes(device: str, timeout_s: float) -> ProcessGroup:
    """Join the processes that torchrun started; alone without it.

    device: "cpu" (gloo) or "gpu" (nccl, one card each). timeout_s: how long one may be waited for.
    """
    place = place_of("torch")
    return ALONE if place.size == 1 else TorchGroup(place, device, timeout_s)


class TorchGroup(ProcessGroup):
    """Several processes in PyTorch."""

    def __init__(self, place: Place, device: str, timeout_s: float) -> None:
        self.rank, self.size = place.rank, place.size
        self.backend = "nccl" if device == "gpu" else "gloo"
        self.device = torch.device("cpu")
        if device == "gpu":
            torch.cuda.set_device(place.local_rank)
            self.device = torch.device("cuda", place.local_rank)
        limit = datetime.timedelta(seconds=timeout_s)
        try:
            store = next(dist.rendezvous("env://", self.rank, self.size, timeout=limit))[0]
            # torchrun --max-restarts gives the next attempt the store of the last one.
            store = dist.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
            dist.init_process_group(
                self.backend, timeout=limit, store=store, rank=self.rank, world_size=self.size
            )
        except (RuntimeError, ValueError) as error:
            raise process_lost(self.rank, self.size, _first_line(error)) from None

    def add(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of `array` over the processes."""
        tensor = torch.from_numpy(np.array(array)).to(self.device)
        self.add_tensor(tensor)
        return tensor.cpu().numpy()

    def add_tensor(self, tensor: torch.Tensor) -> None:
        """Put the sum over the processes into `tensor`. Raises ProcessLostError."""
        try:
            dist.all_reduce(tensor)
        except RuntimeError as error:
            raise process_lost(self.rank, self.size, _first_line(error)) from None

    def leave(self) -> None:
        """Wait for all, then end the group."""
        self.add(np.zeros(1))
        dist.destroy_process_group()

    def add_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        """Put the sum over the processes in place of every gradient."""
        for bucket in _buckets(parameters):
            own = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            has = own[0].new_tensor([p.grad is not None for p in bucket])
            flat = torch.cat([*(grad.reshape(-1) for grad in own), has])
            self.add_tensor(flat)
            *sums, has = flat.split([*(p.numel() for p in bucket), len(bucket)])
            for parameter, total, count in zip(bucket, sums, has.tolist(), strict=True):
                if count:
                    parameter.grad = total.reshape(parameter.shape).clone()

    def share_buffers(self, *modules: Any) -> None:
        """Give all processes the buffers of the first one."""
        found = [b for m in modules if isinstance(m, nn.Module) for b in m.buffers()]
        for bucket in _buckets(found):
            dtype = torch.uint8 if bucket[0].dtype == torch.bool else bucket[0].dtype
            flat = torch.cat([buffer.reshape(-1).to(dtype) for buffer in bucket])
            if not self.is_first:
                flat.zero_()
            self.add_tensor(flat)
            parts = flat.split([buffer.numel() for buffer in bucket])
            with torch.no_grad():
                for buffer, part in zip(bucket, parts, strict=True):
                    buffer.copy_(part.reshape(buffer.shape))

    def synchronise(self, net: nn.Module, pattern: str | None) -> None:
        """Let the BatchNorms that `pattern` finds see the images of all processes."""
        norms = {n: m for n, m in net.named_modules() if isinstance(m, _BatchNorm)}
        for name in norms_found(pattern, norms):
            layer = norms[name]
            own = partial(_synchronised, layer, layer.forward, self)
            layer.forward = own  # type: ignore[method-assign]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Yield tensors of one dtype and device, of `BUCKET` elements together or a little more."""
    open_ones: dict[Any, list[torch.Tensor]] = {}
    for tensor in {id(tensor): tensor for tensor in tensors}.values():
        key = (tensor.dtype, tensor.device)
        bucket = open_ones.setdefault(key, [])
        bucket.append(tensor)
        if sum(member.numel() for member in bucket) >= BUCKET:
            yield open_ones.pop(key)
    yield from open_ones.values()


def _synchronised(
    layer: _BatchNorm, alone: Any, group: TorchGroup, input: torch.Tensor
) -> torch.Tensor:
    """Normalise `input` [N, C, ...] with the statistics of all processes in train mode."""
    if not layer.training:
        return alone(input)
    layer._check_input_dim(input)
    scale = layer.weight if layer.affine else input.new_ones(layer.num_features)
    shift = layer.bias if layer.affine else input.new_zeros(layer.num_features)
    if isinstance(layer, InPlaceABN):
        scale = layer.scale()
    output, mean, variance = SynchronisedNorm.apply(input, scale, shift, layer.eps, group)
    if layer.track_running_stats:
        with torch.no_grad():
            _move_statistics(layer, mean, variance)
    return output


def _move_statistics(layer: _BatchNorm, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Move the running statistics towards those of a batch, as torch's own layer does."""
    share = layer.momentum
    assert layer.running_mean is not None
    assert layer.running_var is not None
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        if share is None:
            share = 1.0 / float(layer.num_batches_tracked)
    for running, new in ((layer.running_mean, mean), (layer.running_var, variance)):
        running.mul_(1 - (share or 0.0)).add_(new.to(running.dtype), alpha=share or 0.0)


class SynchronisedNorm(torch.autograd.Function):
    """BatchNorm over the images of all processes: one sum forward, one backward.

    The gradients of scale and shift are those of this process; they are summed with all others.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        epsilon: float,
        group: TorchGroup,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the output, and mean and unbiased variance [C] of all images."""
        wide = _wide(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        mean = wide.mean(axes)
        squares = (wide - _along(mean, wide)).square().sum(axes)
        cells = wide.new_zeros(group.size, 2 * len(mean) + 1)
        cells[group.rank] = torch.cat([mean, squares, mean.new_tensor([wide.numel() / len(mean)])])
        group.add_tensor(cells)
        total, mean, squares = joined_statistics(cells)
        inverse = (squares / total + epsilon).rsqrt()
        ctx.group, ctx.total = group, total
        ctx.save_for_backward(input, scale, mean, inverse)
        normal = (wide - _along(mean, wide)) * _along(inverse * scale.to(wide.dtype), wide)
        output = normal + _along(shift.to(wide.dtype), wide)
        variance = squares / (total - 1)
        ctx.mark_non_differentiable(mean, variance)
        return output.to(input.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of input, scale and shift."""
        input, scale, mean, inverse = ctx.saved_tensors
        wide, grad = _wide(input), _wide(grad)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        normal = (wide - _along(mean, wide)) * _along(inverse, wide)
        of_shift, of_scale = grad.sum(axes), (grad * normal).sum(axes)
        means = torch.cat([of_shift, of_scale])
        ctx.group.add_tensor(means)
        shift_mean, scale_mean = (means / ctx.total).chunk(2)
        inner = grad - _along(shift_mean, wide) - normal * _along(scale_mean, wide)
        of_input = inner * _along(inverse * scale.to(wide.dtype), wide)
        own = of_scale.to(scale.dtype), of_shift.to(scale.dtype)
        return of_input.to(input.dtype), *own, None, None


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of half precision in float32, any other as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _along(values: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
    """Return `values` [C] in a shape that goes with `input` [N, C, ...]."""
    return values.reshape([-1 if axis == 1 else 1 for axis in range(input.dim())])
