"""Norms whose class is a value: of a partial, a table, a parameter, a lambda."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

PARTIALS = """
import functools


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        norm = functools.partial({made})
        used = norm.func == nn.{asked}
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1, bias=used), norm(4), nn.ReLU(), norm(4))
        self.count = sum(isinstance(one, nn.{asked}) for one in self.modules()) + 1

    def forward(self, x):
        return self.body(x) * self.count
"""
STATED = "affine=False, track_running_stats=True"
NETS = {
    "a partial of a norm with statistics": PARTIALS.format(
        made=f"nn.InstanceNorm2d, {STATED}", asked="InstanceNorm2d"
    ),
    "a partial of a norm with weights and statistics": PARTIALS.format(
        made="nn.InstanceNorm2d, affine=True, track_running_stats=True", asked="InstanceNorm2d"
    ),
    "a partial of a batch norm without statistics": PARTIALS.format(
        made="nn.BatchNorm2d, track_running_stats=False", asked="BatchNorm2d"
    ),
    "a partial of a group norm without weights": PARTIALS.format(
        made="nn.GroupNorm, 2, affine=False", asked="GroupNorm"
    ),
    "a partial of another norm": PARTIALS.format(
        made=f"nn.InstanceNorm2d, {STATED}", asked="BatchNorm2d"
    ),
    "a partial that is given more later": """
from functools import partial


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        stated = partial(nn.InstanceNorm2d, track_running_stats=True)
        weighted = partial(nn.InstanceNorm2d, affine=True)
        self.body = nn.Sequential(
            stated(3, momentum=0.3, eps=1e-3), weighted(3), weighted(3, eps=0.1)
        )

    def forward(self, x):
        return self.body(x)
""",
    "norms in a table": """
NORMS = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = NORMS["instance"](3, affine=False, track_running_stats=True)
        self.second = NORMS["instance"](3, affine=True)
        self.third = NORMS["batch"](3)

    def forward(self, x):
        return self.third(self.second(self.first(x)))
""",
    "a norm by a lambda": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        made = lambda width: nn.InstanceNorm2d(width, affine=False, track_running_stats=True)
        self.norm = made(3)

    def forward(self, x):
        return self.norm(x)
""",
    "a norm by a parameter": """
class Block(nn.Module):
    def __init__(self, width, norm_layer=nn.InstanceNorm2d):
        super().__init__()
        self.norm = norm_layer(width, affine=False, track_running_stats=True)

    def forward(self, x):
        return self.norm(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = Block(3), Block(3)

    def forward(self, x):
        return self.other(self.one(x))
""",
    "a norm by a parameter that holds two": """
class Block(nn.Module):
    def __init__(self, width, norm_layer=nn.InstanceNorm2d):
        super().__init__()
        self.norm = norm_layer(width, affine=False, track_running_stats=True)

    def forward(self, x):
        return self.norm(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = Block(3), Block(3, nn.BatchNorm2d)

    def forward(self, x):
        return self.other(self.one(x))
""",
}


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", NETS)
def test_a_norm_is_made_as_torchs_is(tmp_path, name, train):
    record, net = recorded(tmp_path, {"net": HEAD + NETS[name]})
    assert record.failed == {}
    assert [str(gap) for gap in written(record)[1].gaps] == []
    theirs, ours = both_outputs(tmp_path, record, net, train=train)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


LATER = """
from functools import partial


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        norm = partial(nn.InstanceNorm2d, affine=True)
        self.norm = norm(3, track_running_stats=True)

    def forward(self, x):
        return self.norm(x)
"""


def test_what_a_partial_cannot_hold_any_more_is_a_gap(tmp_path):
    record, _ = recorded(tmp_path, {"net": HEAD + LATER})
    (gap,) = written(record)[1].gaps
    assert "InstanceNorm2DWithStatistics" in str(gap)
