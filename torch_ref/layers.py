"""Layers whose meaning differs between the frameworks, or that the nets of the papers share."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import ConfigError, UserError

BatchNorm2d = nn.BatchNorm2d
BatchNorm1d = nn.BatchNorm1d
BatchNorm3d = nn.BatchNorm3d


class InPlaceABN(BatchNorm2d):
    """BatchNorm whose scale is |weight| + eps and that keeps no batch counter.

    This is what the authors' `InPlaceABNSync(activation="none")` computes (inplace_abn,
    src/cpu.cpp:56): the op that STDC's heads were trained with. Input and output [N, C, H, W].
    A checkpoint holds the raw weight, which may be negative.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.num_batches_tracked = None

    def _load_from_state_dict(self, *args: Any) -> None:
        # BatchNorm would add a counter to files that say no version; this class has none.
        nn.Module._load_from_state_dict(self, *args)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise `input` [N, C, H, W] with batch (train) or running (eval) statistics."""
        self._check_input_dim(input)
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.scale(),
            self.bias,
            self.training,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )

    def scale(self) -> torch.Tensor:
        """Return what normalised values are multiplied by: [C]."""
        return self.weight.abs() + self.eps


class FrozenBatchNorm2d(nn.Module):
    """BatchNorm whose scale, offset and statistics are buffers that no training moves.

    As torchvision's (ops/misc.py): names of a BatchNorm without its counter. Input and output
    [N, C, H, W].
    """

    weight: torch.Tensor
    bias: torch.Tensor
    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones([num_features]))
        self.register_buffer("bias", torch.zeros([num_features]))
        self.register_buffer("running_mean", torch.zeros([num_features]))
        self.register_buffer("running_var", torch.ones([num_features]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` [N, C, H, W] normalised."""
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        offset = self.bias - self.running_mean * scale
        return x * scale.reshape([1, -1, 1, 1]) + offset.reshape([1, -1, 1, 1])


HEAD_NORMS: dict[str, type[BatchNorm2d]] = {"inplace_abn": InPlaceABN, "bn": BatchNorm2d}


def head_norm_class(name: str) -> type[BatchNorm2d]:
    """Return the class of STDC's head BatchNorms called `name`; UserError lists the names."""
    if name not in HEAD_NORMS:
        raise UserError(f"head_norm={name!r} is not known; choose one of {sorted(HEAD_NORMS)}")
    return HEAD_NORMS[name]


def kaiming_normal_(
    weight: torch.Tensor, a: float = 0.0, mode: Literal["fan_in", "fan_out"] = "fan_in"
) -> None:
    """Fill a convolution's `weight` [out, in / groups, kh, kw] from N(0, 2 / ((1 + a^2) fan)).

    He et al., Delving Deep into Rectifiers, ICCV 2015, eq. 15. `mode` is "fan_in" or "fan_out".
    """
    nn.init.kaiming_normal_(weight, a=a, mode=mode)


def fan_in_uniform_(weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
    """Fill a convolution from U(-b, b), b = 1 / sqrt(fan_in): what torch.nn does by default.

    `weight` is [out, in / groups, kh, kw], or [in, out / groups, kh, kw] of a transposed one:
    torch takes all but the first dimension for the fan-in of both.
    """
    bound = 1 / math.sqrt(math.prod(weight.shape[1:]))
    nn.init.uniform_(weight, -bound, bound)
    if bias is not None:
        nn.init.uniform_(bias, -bound, bound)


def named_sequential(layers: Mapping[str, nn.Module]) -> nn.Sequential:
    """Return `layers` one after the other, under their names instead of numbers."""
    return nn.Sequential(OrderedDict(layers))


def keep_statistics(net: nn.Module, kept: float) -> None:
    """Let every BatchNorm of `net` keep the share `kept` of its old statistics in a train step.

    Raises ConfigError for a share outside 0..1.
    """
    if not 0 <= kept <= 1:
        raise ConfigError(f"bn_kept is {kept}; set a share of 0 to 1")
    for layer in net.modules():
        if isinstance(layer, BatchNorm2d | BatchNorm1d | BatchNorm3d):
            layer.momentum = 1 - kept


def freeze_parameters(net: nn.Module) -> None:
    """Leave every parameter of `net` out of training."""
    for parameter in net.parameters():
        parameter.requires_grad = False


def freeze_statistics(net: nn.Module) -> None:
    """Let every BatchNorm of `net` run on the statistics that it has, until `net.train()`."""
    for layer in net.modules():
        if isinstance(layer, BatchNorm2d | BatchNorm1d):
            layer.eval()


def resize_bilinear(
    x: torch.Tensor, size: Sequence[int], align_corners: bool = False
) -> torch.Tensor:
    """Return `x` [N, C, h, w] resized bilinearly to `size` (height, width), inside a net."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)


def scale_bilinear(x: torch.Tensor, factor: float) -> torch.Tensor:
    """Return `x` [N, C, h, w] resized bilinearly to int(factor * h), int(factor * w).

    Results are 1 / factor apart in the source, even where int() cuts off a part of one.
    """
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
