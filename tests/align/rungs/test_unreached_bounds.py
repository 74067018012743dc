"""Functions that bound values beyond what inputs reach: parted ones are found, equal ones not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
import torch
import torch.nn.functional as TF
from paddle.nn.functional import relu as imported_relu

from align import (
    align_backward,
    align_forward,
    align_loss,
    align_training,
    force_trace,
    record_trace,
)
from align.judge.words import Words
from align.report.report import Report

Function = Callable[[Any], Any]
INPUT = np.linspace(-2.5, 2.5, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)


class Reference(torch.nn.Module):
    """A function between two convolutions, in a module where it is one."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1)
        self.act = function
        self.head = torch.nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.head(self.act(self.conv(x)))


class Port(paddle.nn.Layer):
    """The same in Paddle."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 1)
        self.act = function
        self.head = paddle.nn.Conv2D(4, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.head(self.act(self.conv(x)))


def judged(reference: Function, port: Function, rung: Any = align_forward) -> Report:
    """Judge two functions."""
    report: Report = rung(*pair(reference, port), INPUT)
    return report


def pair(reference: Function, port: Function) -> tuple[Any, Any]:
    """Return both nets with the same weights."""
    torch.manual_seed(3)
    ours, theirs = Port(port), Reference(reference)
    state = theirs.state_dict()
    ours.set_state_dict({key: paddle.to_tensor(state[key].numpy()) for key in ours.state_dict()})
    return theirs, ours


class Hswish(torch.nn.Module):
    """As MobileNetV3 has it."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = torch.nn.ReLU6()

    def forward(self, x: Any) -> Any:
        return x * self.relu(x + 3) / 6


def write(x: Any) -> Any:
    """Bound values by writing into a tensor."""
    y = x.clone()
    y[y > 6] = 6
    return y


same = {
    "clip": (torch.nn.functional.relu6, lambda x: paddle.clip(x, 0, 6)),
    "layer": (torch.nn.ReLU6(), F.relu6),
    "method": (lambda x: x.clamp(0, 6), lambda x: x.clip(0, 6)),
    "two": (torch.nn.ReLU6(), lambda x: paddle.minimum(F.relu(x), paddle.to_tensor(6.0, x.dtype))),
    "steps": (torch.nn.ReLU6(), lambda x: F.relu(x) - F.relu(x - 6)),
    "mask": (torch.nn.ReLU(), lambda x: x * (x > 0).astype(x.dtype)),
    "where": (lambda x: x.clamp(max=7), lambda x: paddle.where(x > 7, paddle.full_like(x, 7), x)),
    "hswish": (Hswish(), F.hardswish),
    "hswish_back": (torch.nn.Hardswish(), lambda x: x * F.relu6(x + 3) / 6),
    "hsigmoid": (torch.nn.Hardsigmoid(), lambda x: paddle.clip(x / 6 + 0.5, 0.0, 1.0)),
    "imported": (torch.relu, imported_relu),
    "in_place": (torch.nn.ReLU(inplace=True), lambda x: F.relu_(x * 1.0)),
    "far": (lambda x: x.clamp(-100, 100), lambda x: F.hardtanh(x, -100, 100)),
    "normalize": (lambda x: torch.nn.functional.normalize(x), lambda x: F.normalize(x)),
    "reduced": (lambda x: x - x.amax(1, keepdim=True), lambda x: x - x.max(1, keepdim=True)),
}
parted = {
    "relu": (torch.nn.functional.relu6, F.relu),
    "layer": (torch.nn.ReLU6(), F.relu),
    "imported": (torch.nn.ReLU6(), imported_relu),
    "relu_in_reference": (torch.nn.functional.relu, F.relu6),
    "bound": (lambda x: x.clamp(0, 6), lambda x: x.clip(0, 4)),
    "missing": (lambda x: x.clamp(-100, 100), lambda x: x),
    "missing_min": (lambda x: (x * x + 1).clamp(min=1e-6).log(), lambda x: (x * x + 1).log()),
    "added": (lambda x: x, lambda x: paddle.clip(x, -50.0, 50.0)),
    "hardtanh": (torch.nn.Hardtanh(0, 5), F.relu),
    "hswish": (Hswish(), lambda x: x * F.relu(x + 3) / 6),
    "lower": (lambda x: torch.relu(x + 9), lambda x: F.leaky_relu(x + 9)),
    "twice": (torch.nn.ReLU6(), lambda x: paddle.clip(F.relu(x), max=5.0)),
}


same |= {
    "both": (lambda x: torch.relu(x) + TF.relu6(x), lambda x: F.relu6(x) + F.relu(x)),
    "twice": (
        lambda x: (y := torch.relu(x)) * y + TF.relu6(x),
        lambda x: F.relu(x) * F.relu(x) + paddle.clip(x, 0, 6),
    ),
}
parted |= {
    "both": (lambda x: torch.relu(x) + TF.relu6(x), lambda x: F.relu(x) + F.relu(x)),
    "both_bound": (lambda x: torch.relu(x) + TF.relu6(x), lambda x: F.relu6(x) + F.relu6(x)),
    "one_of_two": (lambda x: torch.relu(x) * torch.relu(x), lambda x: F.relu(x) * F.relu6(x)),
}


@pytest.mark.parametrize("rung", [align_forward, align_backward])
@pytest.mark.parametrize("name", same)
def test_what_is_the_same_everywhere_is_aligned(name: str, rung: Any) -> None:
    """Another spelling of one function is no finding."""
    report = judged(*same[name], rung)
    assert report.exit_code == 0, report.verdict


@pytest.mark.parametrize("rung", [align_forward, align_backward])
@pytest.mark.parametrize("name", parted)
def test_what_parts_beyond_the_inputs_is_found(name: str, rung: Any) -> None:
    """Which spelling a port uses does not decide."""
    report = judged(*parted[name], rung)
    assert report.exit_code == 1, report.verdict
    assert {divergence.layer for divergence in report.divergences} == {""}
    cause = report.divergences[0].cause
    assert isinstance(cause, Words)
    assert cause.has("bound_differs", "bound_missing", "bound_added"), cause
    assert "test_unreached_bounds.py" in cause or "activation.py" in cause


def test_code_that_may_bound_another_way_could_not_be_checked() -> None:
    """What writes into a tensor is no function that can be probed."""
    report = judged(lambda x: x.clamp(max=6.0), write)
    assert report.exit_code == 2, report.verdict


recorded = {name: same[name] for name in ("clip", "steps", "hswish", "reduced")}
recorded_apart = {name: parted[name] for name in ("relu", "missing", "added", "twice")}


@pytest.mark.parametrize("name", [*recorded, *recorded_apart])
@pytest.mark.parametrize("backward", [False, True])
def test_a_stored_trace_tells_as_much(name: str, backward: bool, tmp_path: Path) -> None:
    """What functions give beyond the inputs is a part of the trace."""
    functions = (recorded | recorded_apart)[name]
    theirs, ours = pair(*functions)
    record_trace(theirs, INPUT, tmp_path / "trace", backward=backward)
    report = force_trace(ours, tmp_path / "trace")
    live = judged(*functions, align_backward if backward else align_forward)
    assert report.exit_code == live.exit_code == (name in recorded_apart), report.verdict
    causes = [[str(d.cause) for d in each.divergences] for each in (report, live)]
    assert causes[0] == causes[1]


def test_an_earlier_trace_says_what_was_not_compared(tmp_path: Path) -> None:
    """It holds no such functions."""
    theirs, ours = pair(*parted["relu"])
    record_trace(theirs, INPUT, tmp_path / "trace")
    path = tmp_path / "trace" / "manifest.json"
    data = json.loads(path.read_text())
    del data["bounds"]
    path.write_text(json.dumps(data))
    assert any("earlier version" in note for note in force_trace(ours, tmp_path / "trace").notes)


def torch_loss(outputs: Any, label: Any) -> Any:
    return torch.nn.functional.cross_entropy(outputs.clamp(-1e3, 1e3), label)


def paddle_loss(outputs: Any, label: Any) -> Any:
    return F.cross_entropy(outputs.clip(-1e3, 1e3), label, axis=1)


def unclamped(outputs: Any, label: Any) -> Any:
    return F.cross_entropy(outputs, label, axis=1)


@pytest.mark.parametrize(
    ("name", "loss", "layers"),
    [
        ("clip", paddle_loss, set()),
        ("relu", paddle_loss, {""}),
        ("clip", unclamped, {"(loss)"}),
    ],
)
def test_training_steps_tell_as_much(name: str, loss: Any, layers: set[str]) -> None:
    """Once, however many steps there are; in the net and in the loss."""
    batches = [[INPUT * scale, np.zeros((2, 4, 4), "int64")] for scale in (1.0, 0.9)]
    report = align_training(
        *pair(*(same | parted)[name]),
        batches,
        torch_loss,
        loss,
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: paddle.optimizer.SGD(0.1, parameters=p),
    )
    assert report.exit_code == bool(layers), report.verdict
    assert {d.layer for d in report.divergences} == layers
    assert len(report.divergences) == len(layers)


def unclamped_without_void(outputs: Any, label: Any) -> Any:
    """Comparing labels bounds no value, so that the clamp is missing all the same."""
    known = (label <= 2).astype(outputs.dtype)
    return (F.cross_entropy(outputs, label, axis=1, reduction="none").squeeze(1) * known).mean()


@pytest.mark.parametrize("loss", [paddle_loss, unclamped, unclamped_without_void])
def test_losses_tell_as_much(loss: Any) -> None:
    """A clamp that these outputs do not reach belongs to a loss."""
    outputs = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    report = align_loss(torch_loss, loss, [outputs, np.zeros((2, 4, 4), "int64")])
    assert report.exit_code == (loss is not paddle_loss), report.verdict
