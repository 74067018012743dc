"""Tensors to which no gradient flows in the reference: tables, masks, what it detaches."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference


class TorchScale(tnn.Module):
    """Takes a mask that is a buffer of the module around it."""

    def __init__(self):
        super().__init__()
        self.fc = tnn.Linear(4, 4)

    def forward(self, x, mask):
        return self.fc(x * mask) * mask


class PaddleScale(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = pnn.Linear(4, 4)

    def forward(self, x, mask):
        return self.fc(x * mask) * mask


class TorchTarget(tnn.Module):
    """Returns what nobody is to learn from."""

    def __init__(self):
        super().__init__()
        self.fc = tnn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x).detach()


class PaddleTarget(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = pnn.Linear(4, 4)
        self.detaches = True

    def forward(self, x):
        y = self.fc(x)
        return y.detach() if self.detaches else y


class TorchTable(tnn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randn(6, 4))

    def forward(self, count):
        return self.table[:count]


class PaddleTable(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", paddle.zeros([6, 4]))

    def forward(self, count):
        return self.table[:count]


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = tnn.Linear(4, 4), tnn.Linear(4, 4)
        self.words = tnn.Embedding(5, 4)
        self.words.weight.requires_grad_(False)
        self.scale, self.target, self.table = TorchScale(), TorchTarget(), TorchTable()
        self.register_buffer("mask", torch.rand(4))

    def forward(self, x, words):
        y = self.first(x) + self.table(3) + self.words(words)
        y = self.scale(y, self.mask)
        return y - self.target(y), self.last(y.detach())


class Port(pnn.Layer):
    detaches = True

    def __init__(self):
        super().__init__()
        self.first, self.last = pnn.Linear(4, 4), pnn.Linear(4, 4)
        self.words = pnn.Embedding(5, 4)
        self.words.weight.stop_gradient = True
        self.scale, self.target, self.table = PaddleScale(), PaddleTarget(), PaddleTable()
        self.register_buffer("mask", paddle.zeros([4]))

    def forward(self, x, words):
        y = self.first(x) + self.table(3) + self.words(words)
        y = self.scale(y, self.mask)
        return y - self.target(y), self.last(y.detach() if self.detaches else y)


def report(change=lambda port: None):
    torch.manual_seed(0)
    nets = Reference(), Port()
    fill_port(LiveReference(nets[0]), nets[1])
    change(nets[1])
    inputs = np.random.default_rng(0).standard_normal((3, 4)), np.array([1, 0, 4])
    return align_backward(*nets, inputs)


def test_no_gradient_is_asked_of_a_constant():
    found = report()
    assert found.exit_code == 0, found.verdict


def forgets_in_the_code(port):
    port.detaches = False


def forgets_in_the_layer(port):
    port.target.detaches = False


@pytest.mark.parametrize(
    ("changes", "blamed"),
    [
        ([forgets_in_the_code], {""}),
        ([forgets_in_the_layer], {"target", "target.fc"}),
        ([forgets_in_the_code, forgets_in_the_layer], {"", "target", "target.fc"}),
    ],
)
def test_a_detach_that_the_port_forgets_is_blamed_on_its_code(changes, blamed):
    found = report(lambda port: [change(port) for change in changes])
    assert {divergence.layer for divergence in found.divergences} <= blamed
    assert {layer for layer in blamed if "fc" not in layer} <= {
        divergence.layer for divergence in found.divergences
    }
