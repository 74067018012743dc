"""Buffers of integers and booleans are compared at rest and after a train-mode pass."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_forward, align_training, align_weights, force_trace, record_trace
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.fc = tnn.Linear(3, 3)
        self.norm = tnn.BatchNorm1d(3)  # whose counter Paddle lacks
        self.register_buffer("index", torch.tensor([2, 1, 0]))
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, x):
        if self.training:
            self.steps += 1
        return self.norm(self.fc(x)[:, self.index] * self.mask.to(x.dtype))


class Port(pnn.Layer):
    def __init__(self, counts=True, kind="bool"):
        super().__init__()
        self.counts = counts
        self.fc = pnn.Linear(3, 3)
        self.norm = pnn.BatchNorm1D(3)
        self.register_buffer("index", paddle.to_tensor([2, 1, 0]))
        self.register_buffer("mask", paddle.to_tensor([True, False, True]).astype(kind))
        self.register_buffer("steps", paddle.to_tensor(0))

    def forward(self, x):
        if self.training and self.counts:
            self.steps.set_value(self.steps + 1)
        x = paddle.index_select(self.fc(x), self.index, axis=1)
        return self.norm(x * self.mask.astype(x.dtype))


BATCH = [np.random.default_rng(0).standard_normal((4, 3))]


def pair(**options):
    theirs, ours = Reference(), Port(**options)
    fill_port(LiveReference(theirs), ours)
    return theirs, ours


def blamed(report):
    return {divergence.where for divergence in report.divergences}


def both_ways(theirs, ours, folder):
    """Return the report of a train-mode pass, live and from a trace."""
    record_trace(theirs, BATCH, folder / "trace", train=True)
    live = align_forward(theirs, ours, BATCH, train=True)
    return live, force_trace(ours, folder / "trace", fill=False)


@pytest.mark.parametrize("kind", ["bool", "int64"])
def test_equal_buffers_of_any_kind_are_compared(kind, tmp_path):
    theirs, ours = pair(kind=kind)
    assert align_weights(theirs, ours).exit_code == 0
    for report in both_ways(theirs, ours, tmp_path):
        assert report.exit_code == 0, report.verdict
        assert {"buffer:steps", "buffer:index", "buffer:mask"} <= {c.where for c in report.calls}
    assert int(ours.steps) == 0


def test_a_counter_that_stands_still_is_found(tmp_path):
    for report in both_ways(*pair(counts=False), tmp_path):
        assert report.exit_code == 1
        assert blamed(report) == {"buffer:steps"}


@pytest.mark.parametrize(("name", "wrong"), [("mask", [False, True, False]), ("steps", 2**53 + 1)])
def test_another_value_at_rest_is_found(name, wrong):
    theirs, ours = pair()
    if name == "steps":
        theirs.steps.fill_(2**53)
    getattr(ours, name).set_value(paddle.to_tensor(wrong))
    report = align_weights(theirs, ours)
    assert report.exit_code == 1
    assert f"weight:{name}" in blamed(report)


def mean(out, label):
    return ((out - label) ** 2).mean()


@pytest.mark.parametrize("counts", [True, False])
def test_a_counter_is_judged_in_training(counts):
    report = align_training(
        *pair(counts=counts),
        [[*BATCH, BATCH[0]]] * 2,
        mean,
        mean,
        lambda held: torch.optim.SGD(held, 0.1),
        lambda held: paddle.optimizer.SGD(0.1, parameters=held),
    )
    assert report.exit_code == (0 if counts else 1), report.verdict
    assert not {where for where in blamed(report) if "steps" not in where}
