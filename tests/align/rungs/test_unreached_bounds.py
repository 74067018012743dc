"""Functions that bound values beyond what inputs reach: parted ones are found, equal ones not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
import torch
from paddle.nn.functional import relu as imported_relu

from align import align_backward, align_forward
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
    torch.manual_seed(3)
    ours, theirs = Port(port), Reference(reference)
    state = theirs.state_dict()
    ours.set_state_dict({key: paddle.to_tensor(state[key].numpy()) for key in ours.state_dict()})
    report: Report = rung(theirs, ours, INPUT)
    return report


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
