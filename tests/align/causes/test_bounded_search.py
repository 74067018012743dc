"""The search for causes is bounded by replays; a finding never waits for it."""

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_forward, align_loss
from align.causes import budget, step_recorder
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference


class Reference(torch.nn.Module):
    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.weight = torch.nn.Parameter(torch.randn(8, 8) * 0.05)

    def forward(self, x):
        for _ in range(self.steps):
            x = torch.tanh(x @ self.weight + x * 0.9)
        return x


class Port(paddle.nn.Layer):
    """One step of all has another factor."""

    def __init__(self, steps, factor):
        super().__init__()
        self.steps, self.factor = steps, factor
        self.weight = self.create_parameter([8, 8])

    def forward(self, x):
        for step in range(self.steps):
            factor = self.factor if step == self.steps // 2 else 0.9
            x = paddle.tanh(paddle.matmul(x, self.weight) + x * factor)
        return x


def run(steps, factor=0.91):
    reference, port = Reference(steps), Port(steps, factor)
    fill_port(LiveReference(reference), port)
    return align_forward(reference, port, [np.random.default_rng(0).standard_normal((4, 8))])


def test_long_loop_is_found_and_its_step_named():
    report = run(120)
    assert [d.where for d in report.divergences] == ["output:0"]
    assert "multiply is called with 0.91, in the reference with 0.9" in report.divergences[0].cause
    assert not any("given up" in note for note in report.notes)


def test_too_many_replays_give_up_the_cause_not_the_finding(monkeypatch):
    monkeypatch.setattr(budget, "REPLAYS", 0)
    report = run(10, factor=0.8)
    assert report.exit_code == 1
    assert any("given up after 0 replays" in note for note in report.notes)


def test_clock_gives_up_the_cause_not_the_finding(monkeypatch):
    monkeypatch.setattr(budget, "SECONDS", -1.0)
    report = run(10)
    assert report.exit_code == 1
    assert report.divergences[0].cause is None
    assert any("by the clock" in note for note in report.notes)


def test_code_that_is_too_long_is_said(monkeypatch):
    monkeypatch.setattr(step_recorder, "MOST_STEPS", 20)
    report = run(40)
    assert report.exit_code == 1
    assert any("function by function" in note for note in report.notes)


class Sampling(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        if self.function == "affine_grid":
            theta = x.mean((2, 3))[:, :3].unsqueeze(1).expand(-1, 2, -1)
            return torch.nn.functional.affine_grid(theta, [len(x), 4, 5, 6])
        if self.function == "grid_sample":
            return torch.nn.functional.grid_sample(x, torch.tanh(x[:, :2]).permute(0, 2, 3, 1))
        weight = torch.arange(1.0, 5.0, dtype=x.dtype)
        label = x.detach().argmax(1)
        return torch.nn.functional.cross_entropy(x, label, weight, label_smoothing=0.1)


class PaddleSampling(paddle.nn.Layer):
    """Calls each without what has another default."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        if self.function == "affine_grid":
            theta = x.mean((2, 3))[:, :3].unsqueeze(1).expand([-1, 2, -1])
            return paddle.nn.functional.affine_grid(theta, [x.shape[0], 4, 5, 6])
        if self.function == "grid_sample":
            grid = paddle.tanh(x[:, :2]).transpose([0, 2, 3, 1])
            return paddle.nn.functional.grid_sample(x, grid)
        x = x.transpose([0, 2, 3, 1])
        weight = paddle.arange(1, 5).astype(x.dtype)
        label = x.detach().argmax(-1)
        return paddle.nn.functional.cross_entropy(x, label, weight, label_smoothing=0.1)


@pytest.mark.parametrize("function", ["grid_sample", "affine_grid"])
def test_default_that_differs_is_the_cause(function):
    x = np.random.default_rng(0).standard_normal((2, 4, 8, 8))
    report = align_forward(Sampling(function), PaddleSampling(function), [x])
    expected = f"{function} has align_corners=True: with align_corners=False it is the reference's"
    assert [d.cause for d in report.divergences] == [expected]


def test_axes_that_lie_otherwise_on_purpose_are_no_cause():
    x = np.random.default_rng(0).standard_normal((2, 4, 8, 8))
    report = align_forward(Sampling("smoothing"), PaddleSampling("smoothing"), [x])
    assert report.exit_code == 1
    assert [str(d.cause).partition(",")[0] for d in report.divergences] == [
        "Paddle's cross_entropy weighs whole samples"
    ]


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_time_and_batch_exchanged_in_a_recurrent_layer_are_the_cause(name):
    reference = torch.nn.Sequential(getattr(torch.nn, name)(6, 4))
    port = paddle.nn.Sequential(getattr(paddle.nn, name)(6, 4))
    fill_port(LiveReference(reference), port)
    x = np.random.default_rng(0).standard_normal((5, 2, 6))
    words = f"{name} has time_major=False: with time_major=True it is the reference's"
    report = align_forward(reference, port, [x])
    assert {d.layer for d in report.divergences} == {"0"}
    assert all(words in str(d.cause) for d in report.divergences)
    assert port[0].time_major is False
    right = paddle.nn.Sequential(getattr(paddle.nn, name)(6, 4, time_major=True))
    fill_port(LiveReference(reference), right)
    assert align_forward(reference, right, [x]).aligned


class Twice(torch.nn.Module):
    def forward(self, x):
        return torch.exp(torch.cumsum(x, 1)) * 0.3 - torch.sigmoid(x)


class PaddleTwice(paddle.nn.Layer):
    """Another axis, and another number behind it; `third` is wrong in a way that no step shows."""

    def __init__(self, third=False):
        super().__init__()
        self.third = third

    def forward(self, x):
        y = paddle.exp(paddle.cumsum(x, 2)) * 0.4
        y = y - paddle.nn.functional.sigmoid(x)
        return paddle.to_tensor(y.numpy() + 0.5) if self.third else y


def test_two_faults_of_one_code_are_said_together():
    x = np.random.default_rng(0).standard_normal((2, 4, 5))
    cause = align_forward(Twice(), PaddleTwice(), [x]).divergences[0].cause
    assert re.search(r"cumsum (is called with 2|has axis=2).*multiply is called with 0\.4", cause)


def test_what_does_not_close_the_gap_is_no_cause():
    x = np.random.default_rng(0).standard_normal((2, 4, 5))
    report = align_forward(Twice(), PaddleTwice(third=True), [x])
    assert [d.cause for d in report.divergences] == [None]


def test_of_one_number_any_other_is_some_factor():
    def run(factor):
        losses = torch.nn.functional.mse_loss, paddle.nn.functional.mse_loss
        draw = np.random.default_rng(0)
        arrays = [draw.standard_normal((2, 3)), draw.standard_normal((2, 3))]
        report = align_loss(losses[0], lambda x, y: losses[1](x, y) * factor, arrays)
        return "; ".join(str(d.cause) for d in report.divergences if "grad" not in d.where)

    assert "0.5 times the reference's" in run(0.5)
    assert "times the reference's" not in run(1.37)
