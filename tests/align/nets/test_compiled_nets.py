"""Ports decorated with `to_static`: judged as they are written; what was loaded is refused."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, align_training, align_weights
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import UserError

X = np.random.default_rng(0).standard_normal((5, 3))


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = tnn.Linear(3, 4), tnn.Linear(4, 2)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


class Port(pnn.Layer):
    factor = 1.0

    def __init__(self):
        super().__init__()
        self.first, self.last = pnn.Linear(3, 4), pnn.Linear(4, 2)

    def forward(self, x):
        return self.last(pnn.functional.relu(self.first(x)) * self.factor)


class Decorated(Port):
    @paddle.jit.to_static
    def forward(self, x):
        return self.last(pnn.functional.relu(self.first(x)) * self.factor)


@paddle.jit.to_static
def helper(first, x, factor):
    return pnn.functional.relu(first(x)) * factor


class DecoratedHelper(Port):
    def forward(self, x):
        return self.last(helper(self.first, x, self.factor))


def decorated_part():
    port = Port()
    port.first = paddle.jit.to_static(port.first)
    return port


PORTS = {
    "its class": Decorated,
    "itself": lambda: paddle.jit.to_static(Port()),
    "a part": decorated_part,
    "code that calls layers": DecoratedHelper,
}


def mean(out, label):
    return ((out - label) ** 2).mean()


def reports(theirs, ours):
    fill_port(LiveReference(theirs), ours)
    yield align_forward(theirs, ours, [X])
    yield align_backward(theirs, ours, [X])
    yield align_training(
        theirs,
        ours,
        [[X, X[:, :2]]],
        mean,
        mean,
        lambda held: torch.optim.SGD(held, 0.1),
        lambda held: paddle.optimizer.SGD(0.1, parameters=held),
    )


@pytest.mark.parametrize("which", PORTS)
def test_a_decorated_port_is_judged_as_it_is_written(which, logged):
    ours = PORTS[which]()
    forwards = [type(layer.forward) for layer in ours.sublayers(include_self=True)]
    for report in reports(Reference(), ours):
        assert report.exit_code == 0, report.verdict
        told = any("decorated with to_static" in note for note in report.notes)
        assert told == (which != "code that calls layers")
    assert [type(layer.forward) for layer in ours.sublayers(include_self=True)] == forwards
    assert not logged


@pytest.mark.parametrize("which", PORTS)
def test_a_wrong_one_is_found_at_its_place(which):
    ours = PORTS[which]()
    ours.factor = 1.01
    for report in reports(Reference(), ours):
        assert report.exit_code == 1
        assert {divergence.layer for divergence in report.divergences} == {""}


def test_what_was_loaded_is_refused_in_words(tmp_path):
    saved = Port()
    saved.eval()
    shape = [paddle.static.InputSpec([None, 3], "float32")]
    paddle.jit.save(saved, str(tmp_path / "net"), input_spec=shape)
    whole, part = paddle.jit.load(str(tmp_path / "net")), Port()
    part.first = whole
    for ours, words in ((whole, "the net itself"), (part, "the layer first")):
        with pytest.raises(UserError, match=f"{words} of the port was loaded by paddle.jit.load"):
            fill_port(LiveReference(Reference()), ours)
        with pytest.raises(UserError, match="build it from its Python class"):
            align_weights(Reference(), ours)
