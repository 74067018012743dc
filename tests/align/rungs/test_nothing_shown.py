"""A layer of which all tensors are empty, or zero on both sides, could not be checked."""

from typing import Any

import numpy as np
import paddle
import pytest
import torch

from align import align_backward, align_forward
from align.report.report import Report

INPUT = np.random.default_rng(7).standard_normal((2, 3, 6, 6))


class Reference(torch.nn.Module):
    """A residual branch whose last weight is `gamma`; a slice of `rows` goes through `rest`."""

    def __init__(self, gamma: float, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.conv = torch.nn.Conv2d(3, 3, 1)
        self.last = torch.nn.Conv2d(3, 3, 1, bias=False)
        self.rest = torch.nn.Conv2d(3, 3, 1)
        torch.nn.init.constant_(self.last.weight, gamma)

    def forward(self, x: Any) -> Any:
        rest = self.rest(x[: self.rows])
        return x + self.last(torch.tanh(self.conv(x))), rest


class Port(paddle.nn.Layer):
    """The same in Paddle; `wrong`: each branch computes something else as well."""

    def __init__(self, rows: int, wrong: bool) -> None:
        super().__init__()
        self.rows, self.wrong = rows, wrong
        self.conv = paddle.nn.Conv2D(3, 3, 1)
        self.last = paddle.nn.Conv2D(3, 3, 1, bias_attr=False)
        self.rest = paddle.nn.Conv2D(3, 3, 1)

    def forward(self, x: Any) -> Any:
        rest = self.rest(x[: self.rows])
        branch = self.last(paddle.tanh(self.conv(x)))
        return x + (branch * 2 if self.wrong else branch), rest


def judged(rung: Any, gamma: float = 1.0, rows: int = 1, wrong: bool = False) -> Report:
    """Judge a pair."""
    torch.manual_seed(1)
    theirs, ours = Reference(gamma, rows), Port(rows, wrong)
    state = theirs.state_dict()
    ours.set_state_dict({key: paddle.to_tensor(value.numpy()) for key, value in state.items()})
    report: Report = rung(theirs, ours, INPUT)
    return report


@pytest.mark.parametrize("rung", [align_forward, align_backward])
def test_what_shows_is_aligned(rung: Any) -> None:
    """The same nets with weights and inputs that show them."""
    assert judged(rung).exit_code == 0
    assert judged(rung, wrong=True).exit_code == 1


def test_zero_output_could_not_be_checked() -> None:
    """A weight that starts at zero hides what follows."""
    for wrong in (False, True):
        report = judged(align_forward, gamma=0.0, wrong=wrong)
        assert report.exit_code == 2, report.verdict
        assert {call.layer for call in report.unchecked} == {"last"}
        assert "zero on both sides" in report.verdict


def test_zero_gradients_could_not_be_checked() -> None:
    """No layer before a zero weight shows its gradients."""
    report = judged(align_backward, gamma=0.0)
    assert report.exit_code == 2, report.verdict
    assert {call.layer for call in report.unchecked} == {"conv"}


@pytest.mark.parametrize("rung", [align_forward, align_backward])
def test_empty_tensors_could_not_be_checked(rung: Any) -> None:
    """Of a layer that sees an empty batch nothing is known."""
    report = judged(rung, rows=0)
    assert report.exit_code == 2, report.verdict
    assert {call.layer for call in report.unchecked} == {"rest"}
