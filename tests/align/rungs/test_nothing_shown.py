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
    report: Report = rung(*pair(gamma, rows, wrong), INPUT)
    return report


def pair(gamma: float, rows: int, wrong: bool) -> tuple[Any, Any]:
    """Return both nets with the same weights."""
    torch.manual_seed(1)
    return filled(Reference(gamma, rows), Port(rows, wrong))


def filled(theirs: Any, ours: Any) -> tuple[Any, Any]:
    """Return both with the weights of the first."""
    state = theirs.state_dict()
    ours.set_state_dict({key: paddle.to_tensor(value.numpy()) for key, value in state.items()})
    return theirs, ours


@pytest.mark.parametrize("rung", [align_forward, align_backward])
def test_what_shows_is_aligned(rung: Any) -> None:
    """The same nets with weights and inputs that show them."""
    assert judged(rung).exit_code == 0
    assert judged(rung, wrong=True).exit_code == 1


@pytest.mark.parametrize("rung", [align_forward, align_backward])
def test_weights_that_start_at_zero_hide_nothing(rung: Any) -> None:
    """Other values are put in their place on both sides: the right port passes, a wrong one not."""
    report = judged(rung, gamma=0.0)
    assert report.exit_code == 0, report.verdict
    assert any("last.weight" in note for note in report.notes)
    assert judged(rung, gamma=0.0, wrong=True).exit_code == 1


@pytest.mark.parametrize("rung", [align_forward, align_backward])
def test_nets_are_as_before(rung: Any) -> None:
    """What was put in place of zeros is gone afterwards."""
    theirs, ours = pair(gamma=0.0, rows=1, wrong=False)
    rung(theirs, ours, INPUT)
    assert not theirs.last.weight.any()
    assert not ours.last.weight.numpy().any()
    assert theirs.last.weight.dtype == torch.float32


def test_one_side_alone_is_zero() -> None:
    """Then it is a difference like any other, and nothing is put there."""
    theirs, ours = pair(gamma=0.0, rows=1, wrong=False)
    ours.last.weight.set_value(np.ones((3, 3, 1, 1), "float32"))
    report = align_forward(theirs, ours, INPUT)
    assert report.exit_code == 1
    assert {d.layer for d in report.divergences} == {"last"}


class DeadReference(torch.nn.Module):
    """A ReLU that these inputs never open; `rounded`: a step without a slope instead."""

    def __init__(self, rounded: bool) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)
        self.act = TorchRound() if rounded else torch.nn.ReLU()
        self.rounded = rounded

    def forward(self, x: Any) -> Any:
        return x + self.act(self.conv(x) - (0 if self.rounded else 100))


class DeadPort(paddle.nn.Layer):
    """The same in Paddle."""

    def __init__(self, rounded: bool) -> None:
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 3, 1)
        self.act = PaddleRound() if rounded else paddle.nn.ReLU()
        self.rounded = rounded

    def forward(self, x: Any) -> Any:
        return x + self.act(self.conv(x) - (0 if self.rounded else 100))


class TorchRound(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.round(x)


class PaddleRound(paddle.nn.Layer):
    def forward(self, x: Any) -> Any:
        return paddle.round(x)


@pytest.mark.parametrize(
    ("rung", "rounded", "layers"),
    [
        (align_forward, False, {"act"}),
        (align_backward, False, {"act", "conv"}),
        (align_forward, True, set()),
        (align_backward, True, {"conv"}),
    ],
)
def test_what_inputs_do_not_open_could_not_be_checked(
    rung: Any, rounded: bool, layers: set[str]
) -> None:
    """No weight is to blame. A rounding has no slope, which is compared; what is before it not."""
    torch.manual_seed(1)
    theirs, ours = filled(DeadReference(rounded), DeadPort(rounded))
    report = rung(theirs, ours, INPUT)
    assert report.exit_code == (2 if layers else 0), report.verdict
    assert {call.layer for call in report.unchecked} == layers


@pytest.mark.parametrize("rung", [align_forward, align_backward])
def test_empty_tensors_could_not_be_checked(rung: Any) -> None:
    """Of a layer that sees an empty batch nothing is known."""
    if paddle.__version__ < "3":
        pytest.skip("this Paddle reduces no empty tensor")
    report = judged(rung, rows=0)
    assert report.exit_code == 2, report.verdict
    assert {call.layer for call in report.unchecked} == {"rest"}
