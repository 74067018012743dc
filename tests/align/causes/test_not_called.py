"""A layer that one side never calls is told by its name, with the side, and what to do."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
from paddle import nn as pnn
from torch import nn as tnn

from align import align_forward
from align.pairing.fill import load_state
from convert import convert_state

LAYERS = ("conv", "bn", "act", "extra", "head")
X = np.random.default_rng(0).standard_normal((2, 3, 6, 5))


class Reference(tnn.Module):
    def __init__(self, without=""):
        super().__init__()
        self.without = without
        self.conv, self.bn, self.act = tnn.Conv2d(3, 4, 3), tnn.BatchNorm2d(4), tnn.ReLU()
        self.extra, self.head = tnn.Conv2d(4, 4, 1), tnn.Conv2d(4, 2, 1)

    def forward(self, x):
        for name in LAYERS:
            x = x if name == self.without else getattr(self, name)(x)
        return x


class Port(pnn.Layer):
    """`instead`: functions that stand for layers."""

    def __init__(self, without="", instead=None):
        super().__init__()
        self.without, self.instead = without, instead or {}
        self.conv, self.bn, self.act = pnn.Conv2D(3, 4, 3), pnn.BatchNorm2D(4), pnn.ReLU()
        self.extra, self.head = pnn.Conv2D(4, 4, 1), pnn.Conv2D(4, 2, 1)

    def forward(self, x):
        for name in LAYERS:
            call = self.instead.get(name) or getattr(self, name)
            x = x if name == self.without else call(x)
        return x


def report_of(theirs, ours):
    torch.manual_seed(1)
    theirs.bn.running_var.uniform_(0.5, 2)
    arrays = {key: tensor.detach().numpy() for key, tensor in theirs.state_dict().items()}
    load_state(ours, convert_state(arrays, ours).state)
    return align_forward(theirs, ours, [X])


NEXT = {"bn": "act#0", "act": "extra#0", "extra": "head#0"}


@pytest.mark.parametrize("name", NEXT)
def test_a_layer_that_the_port_forgets(name):
    report = report_of(Reference(), Port(name))
    (found,) = report.divergences
    assert f"the port never calls its {name} here, as the reference calls {name}" in found.cause
    assert "call it in the port's forward" in found.cause
    assert f"the input of {NEXT[name]} is the output of " in found.cause
    assert "running_mean" not in found.cause
    assert "conv2d(" not in found.cause
    notes = [note for note in report.notes if note.kind == "never_called"]
    assert [note.values["path"] for note in notes] == [name]
    assert "移植从不调用" in notes[0].chinese


@pytest.mark.parametrize("name", NEXT)
def test_a_layer_that_only_the_port_calls(name):
    report = report_of(Reference(name), Port())
    (found,) = report.divergences
    assert f"the port calls its {name} here, and the reference never calls {name}" in found.cause
    assert [note.kind for note in report.notes].count("called_by_port") == 1


class ReferenceTwice(tnn.Module):
    def __init__(self):
        super().__init__()
        self.mid = tnn.Sequential(tnn.Conv2d(3, 3, 1), tnn.ReLU())
        self.head = tnn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.head(self.mid(x))


class PortTwice(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.mid = pnn.Sequential(pnn.Conv2D(3, 3, 1), pnn.ReLU())
        self.head = pnn.Conv2D(3, 2, 1)

    def forward(self, x):
        return self.head(x)


def test_of_a_container_that_is_not_called_its_parts_are_not_told():
    theirs, ours = ReferenceTwice(), PortTwice()
    arrays = {key: tensor.detach().numpy() for key, tensor in theirs.state_dict().items()}
    load_state(ours, convert_state(arrays, ours).state)
    report = align_forward(theirs, ours, [X])
    (found,) = report.divergences
    assert found.cause.count("never calls") == 1
    assert "the port never calls its mid here" in found.cause
    assert [note.kind for note in report.notes].count("never_called") == 1


def test_a_function_that_stands_for_a_layer_is_no_fault_of_its_own():
    assert report_of(Reference(), Port(instead={"act": PF.relu})).exit_code == 0
    wrong = Port(instead={"act": lambda x: PF.leaky_relu(x, 0.1)})
    (found,) = report_of(Reference(), wrong).divergences
    assert "the port never calls its act here" in found.cause
    assert "leaky_relu" in found.cause or "slope" in found.cause
