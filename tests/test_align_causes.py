"""Causes of many culprits at once, and of what only a later step shows."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_forward, align_training
from align.subjects import load_state
from convert import convert_state

COUNT = 14


def filled(reference, port):
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


class TorchBlock(tnn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = tnn.Conv2d(3, 3, 1), tnn.BatchNorm2d(3, eps=1e-3)

    def forward(self, x):
        return x + self.norm(self.conv(x))


class Block(pnn.Layer):
    def __init__(self, epsilon, residual):
        super().__init__()
        self.residual = residual
        self.conv, self.norm = pnn.Conv2D(3, 3, 1), pnn.BatchNorm2D(3, epsilon=epsilon)

    def forward(self, x):
        y = self.norm(self.conv(x))
        return x + y if self.residual else y


def blocks(epsilon=1e-3, residual=True):
    torch.manual_seed(0)
    reference = tnn.Sequential(*(TorchBlock() for _ in range(COUNT)))
    return filled(reference, pnn.Sequential(*(Block(epsilon, residual) for _ in range(COUNT))))


def inputs():
    return [np.random.default_rng(0).standard_normal((2, 3, 4, 4))]


def test_a_cause_that_all_layers_of_a_class_share_is_told_in_one_line():
    report = align_forward(*blocks(epsilon=1e-5), inputs())
    assert len(report.divergences) == COUNT
    assert report.notes[0] == (
        f"all {COUNT} BatchNorm2d layers: epsilon is 1e-05, the reference has 0.001"
    )
    reference, port = blocks()
    for block in list(port)[:5]:
        block.norm._epsilon = 1e-5
    report = align_forward(reference, port, inputs())
    assert report.notes[0].startswith(f"5 of {COUNT} BatchNorm2d layers: epsilon is 1e-05")


def test_more_culprits_than_are_replayed_is_said_and_the_first_are():
    report = align_forward(*blocks(residual=False), inputs())
    assert len(report.divergences) == COUNT
    assert (
        f"{COUNT} layers differ: causes that only a replay shows were sought in the first 12"
        in (report.notes)
    )
    assert "its input is not added to its output" in report.divergences[0].cause


class TorchTied(tnn.Module):
    """The weight of the embedding is the one of the last layer, which moves the padding's row."""

    def __init__(self):
        super().__init__()
        self.embed = tnn.Embedding(6, 4, padding_idx=0)
        self.head = tnn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.embed(tokens) + 1.0)


class Tied(pnn.Layer):
    def __init__(self, padding_idx=0):
        super().__init__()
        self.embed = pnn.Embedding(6, 4, padding_idx=padding_idx)

    def forward(self, tokens):
        return paddle.matmul(self.embed(tokens) + 1.0, self.embed.weight, transpose_y=True)


def test_the_padding_row_of_a_tied_weight_that_moved_is_told():
    torch.manual_seed(0)
    reference, port = TorchTied(), Tied()
    port.embed.weight.set_value(reference.embed.weight.detach().numpy())
    rng = np.random.default_rng(0)
    tokens, label = rng.integers(0, 6, (2, 5)), rng.standard_normal((2, 5, 6))
    report = align_training(
        reference,
        port,
        [[tokens, label]] * 3,
        lambda outputs, label: (outputs * label).mean(),
        lambda outputs, label: (outputs * label).mean(),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        lambda parameters: paddle.optimizer.SGD(0.1, parameters=parameters),
    )
    found = [d for d in report.divergences if d.where == "output:0"]
    assert {(d.layer, d.step) for d in found} == {("embed", 1)}
    assert found[0].cause == (
        "embedding gives zeros for padding_idx=0, the reference that row of its weight, which is "
        "not zero"
    )
