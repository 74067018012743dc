"""Nets whose `parameters` gives an optimizer some of them: all of the net is judged."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.nets import members

IMAGE = np.random.default_rng(0).standard_normal((2, 3, 8, 8))


class Sampled(tnn.Module):
    """Only `last` is trained; keeps a grid that its `forward` makes at the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = tnn.Conv2d(3, 4, 3, padding=1), tnn.BatchNorm2d(4)
        self.last = tnn.Conv2d(4, 2, 1)
        self._grid: Any = None

    def parameters(self, recurse: bool = True) -> Any:
        return iter([self.last.weight, self.last.bias])

    def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
        return iter([("last.weight", self.last.weight), ("last.bias", self.last.bias)])

    def modules(self) -> Any:
        return iter([self.last])

    def forward(self, x: Any) -> Any:
        if self._grid is None:
            self._grid = torch.linspace(-1, 1, x.shape[-1])
        return self.last(self.norm(self.first(x)) + self._grid.to(x.dtype))


class SampledPort(pnn.Layer):
    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.first, self.norm = pnn.Conv2D(3, 4, 3, padding=1), pnn.BatchNorm2D(4)
        self.last = pnn.Conv2D(4, 2, 1)
        self._grid: Any = None
        self.factor = factor

    def parameters(self, include_sublayers: bool = True) -> Any:
        return [self.last.weight, self.last.bias]

    def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
        return iter([("last.weight", self.last.weight), ("last.bias", self.last.bias)])

    def forward(self, x: Any) -> Any:
        if self._grid is None:
            self._grid = paddle.linspace(-1, 1, x.shape[-1])
        return self.last(self.norm(self.first(x)) * self.factor + self._grid.astype(x.dtype))


def _pair(factor: float = 1.0) -> tuple[Any, Any]:
    nets = Sampled(), SampledPort(factor)
    fill_port(LiveReference(nets[0]), nets[1])
    return nets


def test_members_are_all_that_both_frameworks_hold() -> None:
    theirs, ours = Sampled(), SampledPort()
    names = [name for name, _ in members.named_parameters(theirs)]
    own = ("first.weight", "first.bias", "norm.weight", "norm.bias", "last.weight", "last.bias")
    assert names == list(own)
    assert names == [name for name, p in members.named_parameters(ours) if not p.stop_gradient]
    assert [path for path, _ in members.named_modules(ours)] == ["", "first", "norm", "last"]
    assert len(members.buffers(theirs)) == 3


def test_a_shared_layer_is_given_once_or_under_each_name() -> None:
    shared = tnn.Linear(2, 2)
    net = tnn.Sequential(shared, tnn.Sequential(shared))
    for each in (True, False):
        assert [n for n, _ in members.named_parameters(net, each)] == [
            n for n, _ in net.named_parameters(remove_duplicate=each)
        ]
        assert [p for p, _ in members.named_modules(net, each)] == [
            p for p, _ in net.named_modules(remove_duplicate=each)
        ]


@pytest.mark.parametrize("train", [False, True])
def test_all_of_the_net_is_cast_and_compared(train: bool) -> None:
    report = align_forward(*_pair(), [IMAGE], train=train)
    assert report.exit_code == 0, report.verdict
    places = {(call.layer, call.where) for call in report.calls}
    assert {("first", "output:0"), ("norm", "output:0"), ("last", "output:0")} <= places
    assert align_forward(*_pair(1 + 1e-9), [IMAGE], train=train).exit_code == 1


def test_gradients_of_all_of_it_are_compared() -> None:
    report = align_backward(*_pair(), [IMAGE])
    assert report.exit_code == 0, report.verdict
    places = {(call.layer, call.where) for call in report.calls}
    assert {("first", "grad:weight"), ("norm", "grad:bias"), ("last", "grad:weight")} <= places


def test_nothing_of_it_is_left_changed() -> None:
    theirs, ours = _pair()
    align_forward(theirs, ours, [IMAGE])
    assert {p.dtype for p in members.parameters(theirs)} == {torch.float32}
    assert {p.dtype for p in members.parameters(ours)} == {paddle.float32}


def test_an_optimizer_is_given_what_the_nets_own_method_gives() -> None:
    given: dict[str, list[tuple[int, ...]]] = {}

    def theirs(parameters: Any) -> Any:
        given["theirs"] = [tuple(p.shape) for p in parameters]
        return torch.optim.SGD(parameters, 0.1)

    def ours(parameters: Any) -> Any:
        given["ours"] = [tuple(p.shape) for p in parameters]
        return paddle.optimizer.SGD(0.1, parameters)

    batch = IMAGE, np.zeros((2, 2, 8, 8))
    losses = tnn.MSELoss(), pnn.MSELoss()
    report = align_training(*_pair(), [batch], *losses, theirs, ours)
    assert given["theirs"] == given["ours"] == [(2, 4, 1, 1), (2,)]
    assert report.exit_code == 0, report.verdict
