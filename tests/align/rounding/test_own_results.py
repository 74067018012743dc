"""Gradients that hang on the last place of what a function gave: of it, backward subtracts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
import torch
from paddle import nn as pnn
from torch import nn

from align import align_backward
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from align.report.report import Report
from align.rounding import disturbed_framework_torch

Make = Callable[..., Any]


class Reference(nn.Module):
    def __init__(self, middle: nn.Module, width: int, factor: float) -> None:
        super().__init__()
        self.first, self.middle = nn.Conv2d(3, width, 1), middle
        self.last, self.factor = nn.Conv2d(width, 2, 1), factor

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(self.middle(self.first(x) * self.factor))


class Port(pnn.Layer):
    def __init__(self, middle: pnn.Layer, width: int, factor: float) -> None:
        super().__init__()
        self.first, self.middle = pnn.Conv2D(3, width, 1), middle
        self.last, self.factor = pnn.Conv2D(width, 2, 1), factor

    def forward(self, x: paddle.Tensor) -> Any:
        return self.last(self.middle(self.first(x) * self.factor))


class Tempered(pnn.Layer):
    """A softmax of what is a little hotter."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: paddle.Tensor) -> Any:
        return pnn.functional.softmax(x * (1.0 + self.share), 1)


class Gate(pnn.Layer):
    """A sigmoid, written out."""

    def forward(self, x: paddle.Tensor) -> Any:
        return 1.0 / (1.0 + (-x).exp())


def off_backward(kind: type, share: float, *settings: Any) -> Any:
    """Return a layer of `kind` whose gradient of its input is off by `share`."""

    class Off(kind):
        def forward(self, x: paddle.Tensor) -> Any:
            x = x * 1.0
            x.register_hook(lambda gradient: gradient * (1.0 + share))
            return super().forward(x)

    return Off(*settings)


def reported(theirs: Any, ours: Any, width: int, factor: float, seed: int, size: int = 1) -> Report:
    """Align a net with `theirs` in the middle, [2, width, size, size], with one with `ours`."""
    torch.manual_seed(seed)
    nets = Reference(theirs, width, factor), Port(ours, width, factor)
    fill_port(LiveReference(nets[0]), nets[1])
    return align_backward(*nets, [np.random.default_rng(seed).standard_normal((2, 3, size, size))])


def floors(report: Report) -> dict[tuple[str, str], float]:
    return {(call.layer, call.where): call.floor for call in report.calls}


@pytest.fixture
def unmoved(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give what leaves results as they are."""
    path = disturbed_framework_torch
    return lambda: monkeypatch.setattr(path, "move_own_results", lambda outputs, noise: None)


# Width, factor and a draw in which one result is as good as 1, or all of a BatchNorm's are.
SATURATED = [
    (nn.Softmax, pnn.Softmax, (1,), 2, 30.0, 12),
    (nn.Softmax, pnn.Softmax, (1,), 16, 100.0, 14),
    (nn.Tanh, pnn.Tanh, (), 2, 30.0, 8),
    (nn.Sigmoid, Gate, (), 2, 100.0, 3),
    (nn.BatchNorm2d, pnn.BatchNorm2D, (1,), 1, 1.0, 1),
    (nn.BatchNorm2d, pnn.BatchNorm2D, (1,), 1, 10.0, 16),
]


@pytest.mark.parametrize(("theirs", "ours", "settings", "width", "factor", "seed"), SATURATED)
def test_what_is_saturated_is_no_alarm(
    theirs: Make,
    ours: Any,
    settings: tuple,
    width: int,
    factor: float,
    seed: int,
    unmoved: Callable[[], None],
) -> None:
    """Both frameworks are as far from what is exact as from one another."""
    report = reported(theirs(*settings), ours(*settings), width, factor, seed)
    assert report.exit_code == 0, report.verdict
    share = 3.0 * floors(report)["middle", "grad_input:0"]
    faulty = reported(theirs(*settings), off_backward(ours, share, *settings), width, factor, seed)
    assert [(d.layer, d.where) for d in faulty.divergences] == [("middle", "grad_input:0")]
    unmoved()
    before = reported(theirs(*settings), ours(*settings), width, factor, seed)
    assert 10.0 * floors(before)["middle", "grad_input:0"] < share  # 3 times what it is now


@pytest.mark.parametrize(
    ("theirs", "ours", "width", "factor", "seed"),
    [
        (nn.Softmax(1), pnn.Softmax(0), 16, 100.0, 14),
        (nn.Softmax(1), Tempered(1e-9), 2, 30.0, 12),
        (nn.Softmax(1), Tempered(1e-9), 16, 1.0, 14),
        (nn.BatchNorm2d(1), pnn.BatchNorm2D(1, epsilon=1e-5 + 1e-10), 1, 1.0, 1),
        (nn.BatchNorm2d(1), pnn.BatchNorm2D(1, epsilon=1e-5 + 1e-10), 1, 10.0, 16),
    ],
)
def test_faults_of_the_same_layers_are_found(
    theirs: Any, ours: Any, width: int, factor: float, seed: int
) -> None:
    report = reported(theirs, ours, width, factor, seed)
    assert {one.layer for one in report.divergences} == {"middle"}
    assert "grad_input:0" in {one.where for one in report.divergences}


@pytest.mark.parametrize(
    ("theirs", "ours", "most"),
    [
        (nn.BatchNorm2d(16), pnn.BatchNorm2D(16), 1.0),
        (nn.GroupNorm(4, 16), pnn.GroupNorm(4, 16), 1.0),
        (nn.Conv2d(16, 16, 3), pnn.Conv2D(16, 16, 3), 1.0),
        (nn.GELU(), pnn.GELU(), 1.0),
        (nn.LogSoftmax(1), pnn.LogSoftmax(1), 1.0),
        (nn.ReLU(), pnn.ReLU(), 1.0),
        (nn.Softmax(1), pnn.Softmax(1), 2.0),
        (nn.Sigmoid(), pnn.Sigmoid(), 2.0),
        (nn.Tanh(), pnn.Tanh(), 2.0),
    ],
)
def test_floors_of_what_is_not_saturated_stay(
    theirs: Any, ours: Any, most: float, unmoved: Callable[[], None]
) -> None:
    now = floors(reported(theirs, ours, 16, 1.0, 0, size=5))
    unmoved()
    before = floors(reported(theirs, ours, 16, 1.0, 0, size=5))
    assert all(before[place] <= now[place] <= most * before[place] for place in before)


def test_a_gradient_that_is_nothing_but_rounding_moves_by_what_cancels():
    from align.rounding.noise_torch import Noise
    from align.rounding.own_results_torch import move_own_results

    x = torch.randn(20, 1, dtype=torch.float64, requires_grad=True)
    y = torch.nn.functional.layer_norm(x, (1,))  # of one value: its gradient is zero
    move_own_results([y], Noise(1.0))
    (gradient,) = torch.autograd.grad(y, [x], torch.ones_like(y))
    unit = 2.0**-52 / 1e-5**0.5
    assert bool((gradient.abs() > unit / 4).all())
    assert bool((gradient.abs() < unit * 4).all())
