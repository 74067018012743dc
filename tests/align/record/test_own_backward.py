"""References whose own backward pass raises: judged forward, and told where they cannot learn."""

import inspect
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import (
    align_backward,
    align_forward,
    align_loss,
    align_step,
    align_training,
    record_trace,
)
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import UserError


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        raise ZeroDivisionError("nobody wrote it")


def writes(x):
    y = torch.exp(x)
    y.mul_(2)
    return y


def no_derivative(x):
    return torch.igamma(torch.exp(x), torch.ones_like(x))


# What the reference does between its layers, the same in Paddle, and the line to be named.
CODES = {
    "in place": (writes, lambda x: paddle.exp(x) * 2, writes, 1),
    "a function of one's own": (
        NoBackward.apply,
        lambda x: x * 2,
        NoBackward.backward,
        2,
    ),
    "no derivative": (
        no_derivative,
        lambda x: paddle.gammainc(paddle.exp(x), paddle.ones_like(x)),
        None,
        0,
    ),
}


class Reference(tnn.Module):
    def __init__(self, code):
        super().__init__()
        self.first, self.last, self.code = tnn.Linear(3, 4), tnn.Linear(4, 2), code

    def forward(self, x):
        return self.last(self.code(self.first(x)))


class Port(pnn.Layer):
    def __init__(self, code, factor):
        super().__init__()
        self.first, self.last = pnn.Linear(3, 4), pnn.Linear(4, 2)
        self.code, self.factor = code, factor

    def forward(self, x):
        return self.last(self.code(self.first(x)) * self.factor)


X = np.random.default_rng(0).standard_normal((5, 3))


def mean(out, label):
    return ((out - label) ** 2).mean()


def pair(case, factor=1.0):
    torch.manual_seed(0)
    theirs, ours, _, _ = CODES[case]
    nets = Reference(theirs), Port(ours, factor)
    fill_port(LiveReference(nets[0]), nets[1])
    return nets


def reports(case, factor=1.0):
    nets, batch = pair(case, factor), [X, X[:, :2]]
    makers = (
        lambda held: torch.optim.SGD(held, 0.1),
        lambda held: paddle.optimizer.SGD(0.1, parameters=held),
    )
    yield align_backward(*nets, [X])
    yield align_backward(*nets, batch, mean, mean)
    yield align_step(*nets, batch, mean, mean, *makers)
    yield align_training(*nets, [batch] * 2, mean, mean, *makers)


@pytest.mark.parametrize("case", CODES)
def test_the_right_port_could_not_be_checked_backward(case):
    if case == "no derivative" and not hasattr(paddle, "gammainc"):
        pytest.skip("Paddle has no gammainc before 3.0")
    assert align_forward(*pair(case), [X], train=True).exit_code == 0
    *_, code, offset = CODES[case]
    for report in reports(case):
        assert report.exit_code == 2, report.verdict
        assert "the reference's own backward pass raises" in report.verdict
        assert any(call.verdict == "equal" for call in report.calls)
        if code is not None:
            line = inspect.getsourcelines(code)[1] + offset
            assert f"{__file__}:{line}" in report.verdict


@pytest.mark.parametrize("case", ["in place", "a function of one's own"])
def test_the_wrong_port_is_found_forward(case):
    for report in reports(case, factor=1.01):
        assert report.exit_code == 1, report.verdict
        assert "" in {divergence.layer for divergence in report.divergences}


def test_nets_are_as_before():
    theirs, ours = pair("in place")
    before = {key: value.clone() for key, value in theirs.state_dict().items()}
    align_backward(theirs, ours, [X])
    assert all(torch.equal(before[key], value) for key, value in theirs.state_dict().items())
    assert theirs.first.weight.grad is None
    assert theirs.first.weight.dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32


def test_a_loss_that_cannot_be_derived_is_compared_by_value():
    def theirs(out, label):
        return mean(NoBackward.apply(out), label)

    def ours(out, label, by):
        return mean(out * by, label)

    for factor, code in ((2, 2), (2.1, 1)):
        assert align_loss(theirs, partial(ours, by=factor), [X, X * 3]).exit_code == code


def test_a_recording_says_it(tmp_path):
    theirs, _ = pair("in place")
    with pytest.raises(UserError, match="own backward pass raises RuntimeError"):
        record_trace(theirs, [X], tmp_path / "trace", train=True, backward=True)
    assert not (tmp_path / "trace").exists()


class UnderInference(Reference):
    @torch.inference_mode()
    def forward(self, x):
        return super().forward(x)


def test_code_under_inference_mode_is_judged_forward():
    theirs, ours = UnderInference(torch.exp), Port(paddle.exp, 1.0)
    fill_port(LiveReference(theirs), ours)
    assert align_forward(theirs, ours, [X]).exit_code == 0
    ours.factor = 1.01
    assert align_forward(theirs, ours, [X]).exit_code == 1
    assert theirs(torch.ones(1, 3)).is_inference()
