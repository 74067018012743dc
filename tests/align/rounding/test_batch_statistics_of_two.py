"""Batch statistics of two values: they hang on a difference, which rounding moves a lot."""

from typing import Any

import numpy as np
import paddle
import pytest
import torch
from paddle import nn as pnn
from torch import nn

from align import align_backward, align_forward
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from paddle_impl.layers import BatchNorm2D

CHANNELS = 4


class Reference(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm2d(CHANNELS), nn.Conv2d(CHANNELS, 2, 1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(self.norm(x))


class Port(pnn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = BatchNorm2D(CHANNELS), pnn.Conv2D(CHANNELS, 2, 1)

    def forward(self, x: paddle.Tensor) -> Any:
        return self.last(self.norm(x))


# In all but 0 the kernels are off by more than what was allowed when
# both values were moved to the same side.
@pytest.mark.parametrize("seed", [0, 68, 133, 206, 222, 331])
def test_two_values_of_a_channel_that_are_nearly_the_same_are_no_alarm(seed):
    torch.manual_seed(0)
    reference, port = Reference(), Port()
    fill_port(LiveReference(reference), port)
    draw = np.random.default_rng(seed)
    one = draw.standard_normal((1, CHANNELS, 1, 1)) + 1.0
    step = 10 ** draw.uniform(-4, -0.5) * draw.standard_normal((1, CHANNELS, 1, 1))
    report = align_backward(reference, port, [np.concatenate([one, one + step])])
    assert report.aligned, report.verdict


class Residual(nn.Module):
    """Of an inverted residual: what a norm has centred, a convolution without bias takes."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.norm = nn.BatchNorm2d(6), nn.BatchNorm2d(12)
        self.expand = nn.Conv2d(6, 12, 1, bias=False)

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(self.expand(self.project(x)))


class ResidualPort(pnn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.project, self.norm = pnn.BatchNorm2D(6), pnn.BatchNorm2D(12)
        self.expand = pnn.Conv2D(6, 12, 1, bias_attr=False)

    def forward(self, x: paddle.Tensor) -> Any:
        return self.norm(self.expand(self.project(x)))


@pytest.mark.parametrize("seed", range(5))
def test_running_mean_of_centred_values_is_noise(seed: int) -> None:
    torch.manual_seed(seed)
    nets = Residual(), ResidualPort()
    fill_port(LiveReference(nets[0]), nets[1])
    x = np.random.default_rng(seed).standard_normal((2, 6, 9, 7))
    report = align_forward(*nets, [x], train=True)
    assert report.exit_code == 0, report.verdict
    assert [(call.layer, call.where) for call in report.noise] == [("norm", "buffer:_mean")]
    # Paddle's biased variance is known and predicted: no figure for "worst".
    assert report.worst is not None
    assert report.worst.relative_error < 1e-12
    assert max(call.relative_error for call in report.calls) > 1e-3
