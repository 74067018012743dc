"""Causes of many culprits at once, and of what only a later step shows."""

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from paddle.nn import functional as pf
from torch import nn as tnn

from align import align_backward, align_forward, align_training
from align.causes import steps
from align.pairing.fill import fill_port, load_state
from align.pairing.reference_torch import LiveReference
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


class TorchWindow(tnn.Module):
    """Attention with a bias by position, and code behind it as decoders have it."""

    def __init__(self):
        super().__init__()
        self.qkv, self.proj = tnn.Linear(8, 24), tnn.Linear(8, 8)
        self.bias = tnn.Parameter(torch.randn(2, 5, 5))
        self.scale = tnn.Parameter(torch.randn(8))

    def forward(self, x):
        n = len(x)
        q, k, v = self.qkv(x).view(n, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) * 0.5 + self.bias
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, 5, 8)
        y = self.proj(y) * self.scale
        gate = torch.sigmoid(y)
        y = torch.where(gate > 0.5, y, 0.1 * y).cumsum(1)
        return y * gate + x, y.detach().mean((1, 2)).sqrt().nan_to_num(1.0)


class PaddleWindow(pnn.Layer):
    """The same; `fault` is what is wrong in it."""

    def __init__(self, fault):
        super().__init__()
        self.qkv, self.proj, self.fault = pnn.Linear(8, 24), pnn.Linear(8, 8), fault
        self.bias = self.create_parameter([2, 5, 5])
        self.scale = self.create_parameter([8])

    def forward(self, x):
        n, wrong = len(x), self.fault
        q, k, v = self.qkv(x).reshape([n, 5, 3, 2, 4]).transpose([2, 0, 3, 1, 4])
        if wrong == "exchanged":
            k, v = v, k
        k = k.detach() if wrong == "detached" else k
        bias = self.bias.transpose([0, 2, 1]) if wrong == "transposed" else self.bias
        scores = q @ k.transpose([0, 1, 3, 2]) * (0.25 if wrong == "number" else 0.5)
        scores = scores if wrong == "forgotten" else scores + bias
        y = (pf.softmax(scores, -1) @ v).transpose([0, 2, 1, 3])
        y = self.proj(y.reshape([n, 5, 8]))
        y = y if wrong == "unscaled" else y * self.scale
        gate = y if wrong == "ungated" else pf.sigmoid(y)
        sides = (0.1 * y, y) if wrong == "sides" else (y, 0.1 * y)
        y = paddle.where(pf.sigmoid(y) > 0.5, *sides).cumsum(2 if wrong == "axis" else 1)
        tail = y if wrong == "flows" else y.detach()
        return y * gate + x, paddle.nan_to_num(tail.mean((1, 2)).sqrt(), 1.0)


@pytest.mark.parametrize(
    ("fault", "cause"),
    {
        "exchanged": "matmul takes .*, in the reference .*; the two are exchanged",
        "forgotten": r"softmax\(.*, the reference add\(.*, bias\)",
        "transposed": r"takes bias \(operand 2\) with its axes in the order \[0, 2, 1\]",
        "number": "multiply is called with 0.25, in the reference with 0.5",
        "unscaled": r"the reference multiply\(the output of proj, scale\)",
        "ungated": "multiply takes .*, in the reference sigmoid",
        "sides": "the operands of where stand in another order",
        "axis": "cumsum (is called with 2, in the reference with 1|has axis=2)",
    }.items(),
    ids=lambda value: value.split()[0] if " " not in value else "",
)
def test_the_place_where_code_parts_from_the_references_is_said(fault, cause):
    reference, port = TorchWindow(), PaddleWindow(fault)
    fill_port(LiveReference(reference), port)
    x = np.random.default_rng(0).standard_normal((3, 5, 8))
    for report in (align_forward(reference, port, [x]), align_backward(reference, port, [x])):
        assert {call.layer for call in report.divergences} == {""}
        assert all(re.search(cause, str(call.cause)) for call in report.divergences), report.verdict


@pytest.mark.parametrize(
    ("fault", "cause"),
    {
        "detached": "as matmul takes it, is detached here, in the reference it is not",
        "flows": "is detached in the reference, here it is not",
    }.items(),
)
def test_where_gradients_stop_is_said(fault, cause):
    reference, port = TorchWindow(), PaddleWindow(fault)
    fill_port(LiveReference(reference), port)
    x = np.random.default_rng(0).standard_normal((3, 5, 8))
    assert align_forward(reference, port, [x]).aligned
    report = align_backward(reference, port, [x])
    assert {call.layer for call in report.divergences} == {""}
    assert any(cause in str(call.cause) for call in report.divergences), report.verdict


class TorchCount(tnn.Module):
    """A number that only hangs on which values are large."""

    def forward(self, x):
        p = x.softmax(1).max(1)[0]
        return (x * x).mean(1)[p < 0.99].mean()


class PaddleCount(pnn.Layer):
    def forward(self, x):
        p = pf.softmax(x, 1).max(1)
        return (x * x).mean(1)[p < 0.5].mean()


def test_a_change_elsewhere_that_gives_the_right_number_is_no_cause():
    """The softmax over another axis keeps every value, as the right threshold does."""
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6))
    report = align_forward(TorchCount(), PaddleCount(), [x])
    (call,) = report.divergences
    assert "softmax has" not in str(call.cause)
    assert "less_than is called with 0.5, in the reference with 0.99" in str(call.cause)


def test_a_cause_that_cannot_be_sought_leaves_the_finding(monkeypatch):
    from align.causes import replay_paddle

    def fails(self, gradients):
        raise RuntimeError("does not like to be watched")

    monkeypatch.setattr(replay_paddle.Replay, "recorded", fails)
    reference, port = TorchWindow(), PaddleWindow("axis")
    fill_port(LiveReference(reference), port)
    report = align_forward(reference, port, [np.ones((3, 5, 8))])
    assert {call.layer for call in report.divergences} == {""}
    assert any("no cause of" in note and "watched" in note for note in report.notes)


class TorchHead(tnn.Module):
    def __init__(self):
        super().__init__()
        self.parts = tnn.ModuleList([tnn.Conv2d(3, 2, 1) for _ in range(3)])
        self.last = tnn.Conv2d(6, 4, 1)

    def forward(self, x):
        y = self.last(torch.cat([part(x) for part in self.parts], 1))
        return torch.nn.functional.interpolate(y, (9, 11), mode="bilinear", align_corners=False)


class PaddleHead(pnn.Layer):
    def __init__(self, order, corners):
        super().__init__()
        self.order, self.corners = order, corners
        self.parts = pnn.LayerList([pnn.Conv2D(3, 2, 1) for _ in range(3)])
        self.last = pnn.Conv2D(6, 4, 1)

    def forward(self, x):
        parts = [part(x) for part in self.parts]
        y = self.last(paddle.concat([parts[i] for i in self.order], 1))
        return pf.interpolate(y, [9, 11], mode="bilinear", align_corners=self.corners)


@pytest.mark.parametrize("align", [align_forward, align_backward])
@pytest.mark.parametrize(("order", "corners"), [([2, 1, 0], True), ([2, 1, 0], False)])
def test_every_fault_in_the_code_of_one_layer_is_named(align, order, corners):
    torch.manual_seed(0)
    report = align(*filled(TorchHead(), PaddleHead(order, corners)), inputs())
    (cause,) = {divergence.cause for divergence in report.divergences}
    assert "concat has another order: [2, 1, 0]" in cause
    assert ("align_corners=True: with align_corners=False" in cause) == corners


@pytest.mark.parametrize(
    ("ours", "theirs", "apart"),
    [
        (("0.25",), ("0.5",), (["0.25"], ["0.5"])),
        (("slope=0.2",), (), (["slope=0.2"], [])),
        (("[4, 6]", "axis=1"), ("size=[4, 6]", "axis=2"), (["axis=1"], ["axis=2"])),
        (("axis=1",), ("axis=2", "antialias=False"), (["axis=1"], ["axis=2"])),
        (("axis=True",), ("axis=False",), (["axis=True"], ["axis=False"])),
        (("1",), ("dim=1", "keepdim=False"), ([], [])),
    ],
)
def test_only_arguments_that_differ_are_said(ours, theirs, apart):
    assert steps._apart(ours, theirs) == apart
