"""Nets that ask which torch they have, and that take a `partial` apart."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

ASKS = f"""{HEAD}
import torch.compiler

KNOWS = hasattr(torch, "compiler") and hasattr(torch.compiler, "is_exporting")


def left_alone(function):
    return function


@torch.fx.wrap
@left_alone
def doubled(x):
    return x if KNOWS and torch.compiler.is_exporting() else 2 * x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        weight = F.batch_norm(
            self.conv.weight.reshape(1, 3, -1), None, None, training=True, momentum=0.0, eps=1e-3
        )
        return doubled(self.conv(x)) * weight.reshape_as(self.conv.weight)[0, 0]
"""
APART = f"""{HEAD}
from functools import partial


class NormAct(nn.BatchNorm2d):
    def __init__(self, width, eps=1e-5, momentum=0.1):
        super().__init__(width, eps=eps, momentum=momentum)

    def forward(self, x):
        return super().forward(x).relu()


def with_act(norm):
    return partial(NormAct, **norm.keywords) if norm.func is nn.BatchNorm2d else norm


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = with_act(partial(nn.BatchNorm2d, eps=0.1, momentum=0.3))(3)

    def forward(self, x):
        return self.norm(self.conv(x))
"""


@pytest.mark.parametrize("text", [ASKS, APART])
def test_it_computes_the_same(tmp_path, text):
    record, net = recorded(tmp_path, {"idiom": text})
    _, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    theirs, ours = both_outputs(tmp_path, record, net, train=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_what_torch_has_is_said_and_paddle_is_not_asked(tmp_path):
    record, _ = recorded(tmp_path, {"idiom": ASKS})
    text = written(record)[0]["idiom.py"]
    assert "KNOWS = True and True" in text
    assert "@left_alone\ndef doubled" in text
