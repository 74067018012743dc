"""Floors of a call whose inner layers other calls share: their earlier calls are not its own."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_forward
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from align.rounding.rounding_torch import combined

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 6, 6))


class Up(tnn.Module):
    """Resizes by a ratio that float32 does not hold, behind a layer that others hold, too."""

    def __init__(self, act, size):
        super().__init__()
        self.act, self.size = act, size

    def forward(self, x):
        return tnn.functional.interpolate(self.act(x), self.size, mode="bilinear")


class Stem(tnn.Module):
    """Holds the layer, too, and no kernel that is off: its code does not run again."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def forward(self, x):
        return self.act(self.act(x)[..., :5])


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.act = tnn.GELU()
        self.stem = Stem(self.act)
        self.first, self.second = Up(self.act, (7, 7)), Up(self.act, (9, 9))

    def forward(self, x):
        return self.second(self.first(self.stem(x)))


class UpPort(pnn.Layer):
    def __init__(self, act, size, factor):
        super().__init__()
        self.act, self.size, self.factor = act, size, factor

    def forward(self, x):
        x = pnn.functional.interpolate(self.act(x), self.size, mode="bilinear")
        return x * self.factor


class StemPort(pnn.Layer):
    def __init__(self, act):
        super().__init__()
        self.act = act

    def forward(self, x):
        return self.act(self.act(x)[..., :5])


class Port(pnn.Layer):
    def __init__(self, factor=1.0):
        super().__init__()
        self.act = pnn.GELU()
        self.stem = StemPort(self.act)
        self.first, self.second = UpPort(self.act, [7, 7], 1.0), UpPort(self.act, [9, 9], factor)

    def forward(self, x):
        return self.second(self.first(self.stem(x)))


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.001, 1)])
def test_a_layer_that_two_blocks_share(factor, code):
    theirs, ours = Reference(), Port(factor)
    fill_port(LiveReference(theirs), ours)
    report = align_forward(theirs, ours, [IMAGE])
    assert report.exit_code == code, report.verdict
    assert {one.layer for one in report.divergences} == ({"second"} if code else set())
    assert all(call.floor < 1e-4 for call in report.calls)


def test_movements_without_end_are_added_up():
    assert combined({("a", 0): 1e290}, [{("a", 0): 1e290}, {}])["a", 0] >= 1e290
