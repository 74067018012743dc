"""A number that torch holds as [] and the port as [1], said by a rules file for both rooms."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, align_training, align_weights
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

RULES = {"reshapes": [{"match": "^(scale|seen)$", "shape": []}]}
X = np.random.default_rng(0).standard_normal((4, 3))


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.scale = tnn.Parameter(torch.tensor(1.5))
        self.fc = tnn.Linear(3, 2)
        self.register_buffer("seen", torch.tensor(2))

    def forward(self, x):
        self.seen += 1
        return self.fc(x) * self.scale


class Port(pnn.Layer):
    counts_by = 1

    def __init__(self):
        super().__init__()
        self.scale = self.create_parameter([1])
        self.fc = pnn.Linear(3, 2)
        self.register_buffer("seen", paddle.to_tensor([0]))

    def forward(self, x):
        self.seen.add_(paddle.to_tensor([self.counts_by], self.seen.dtype))
        return self.fc(x) * self.scale


def pair():
    theirs, ours = Reference(), Port()
    fill_port(LiveReference(theirs), ours, RULES)
    return theirs, ours


def mean(out, label):
    return ((out - label) ** 2).mean()


def reports(theirs, ours):
    steps = [[X, X[:, :2]]] * 2
    yield align_weights(theirs, ours, rules=RULES)
    yield align_forward(theirs, ours, [X], train=True, rules=RULES)
    yield align_backward(theirs, ours, [X], rules=RULES)
    yield align_training(
        theirs,
        ours,
        steps,
        mean,
        mean,
        lambda held: torch.optim.SGD(held, 0.1, momentum=0.9),
        lambda held: paddle.optimizer.Momentum(0.1, 0.9, parameters=held),
        rules=RULES,
    )


def test_a_number_is_converted_and_aligned():
    for report in reports(*pair()):
        assert report.exit_code == 0, (report.stage, report.verdict)


def test_another_number_is_found():
    theirs, ours = pair()
    ours.scale.set_value(paddle.to_tensor([1.25]))
    weights, forward, *_ = reports(theirs, ours)
    assert {divergence.where for divergence in weights.divergences} == {"weight:scale"}
    assert forward.exit_code == 1


def test_a_buffer_that_is_counted_otherwise_is_found():
    theirs, ours = pair()
    ours.counts_by = 2
    weights, *others = reports(theirs, ours)
    assert weights.exit_code == 0
    for report in others:
        wrong = {divergence.where for divergence in report.divergences}
        assert {"buffer:seen"} <= wrong <= {"buffer:seen", "weight:seen"}
