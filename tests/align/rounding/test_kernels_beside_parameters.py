"""Gradients of parameters that a layer holds itself, beside a kernel that is off in Paddle."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

IMAGE = np.random.default_rng(0).standard_normal((2, 3, 6, 6))
LABEL = np.random.default_rng(1).standard_normal((2, 2, 5, 5))


class Block(tnn.Module):
    """Resizes by ratios that float32 does not hold."""

    def __init__(self):
        super().__init__()
        self.gain, self.table = tnn.Parameter(torch.rand(3)), tnn.Parameter(torch.rand(3, 4))

    def forward(self, x):
        x = tnn.functional.interpolate(x * self.gain[:, None, None], (7, 7), mode="bilinear")
        x = tnn.functional.interpolate(x * 1.3, (5, 5), mode="bilinear")
        return x * tnn.functional.normalize(self.table, dim=1).sum()


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.head = Block(), tnn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.head(self.block(x))


class BlockPort(pnn.Layer):
    def __init__(self, factor):
        super().__init__()
        self.gain, self.table = self.create_parameter([3]), self.create_parameter([3, 4])
        self.factor = factor

    def forward(self, x):
        resize = pnn.functional.interpolate
        x = resize(x * self.gain.unsqueeze([1, 2]), [7, 7], mode="bilinear")
        x = resize(x * self.factor, [5, 5], mode="bilinear")
        return x * pnn.functional.normalize(self.table, axis=1).sum()


class Port(pnn.Layer):
    def __init__(self, factor=1.3):
        super().__init__()
        self.block, self.head = BlockPort(factor), pnn.Conv2D(3, 2, 1)

    def forward(self, x):
        return self.head(self.block(x))


def mean(out, label):
    return ((out - label) ** 2).mean()


def reports(**options):
    theirs, ours = Reference(), Port(**options)
    fill_port(LiveReference(theirs), ours)
    yield align_backward(theirs, ours, [IMAGE])
    yield align_backward(theirs, ours, [IMAGE, LABEL], mean, mean)


def test_what_the_kernel_moves_is_allowed_in_these_gradients():
    for report in reports():
        assert report.exit_code == 0, report.verdict
        floors = {call.where: call.floor for call in report.calls if call.layer == "block"}
        assert 1e-7 < floors["grad:gain"] < 1e-4
        assert 1e-7 < floors["grad:table"] < 1e-4


def test_and_no_more_than_that():
    for report in reports(factor=1.301):
        assert report.exit_code == 1
        assert {divergence.layer for divergence in report.divergences} == {"block"}
