"""Losses that differentiate the net: judged as a whole, in every rung that takes a loss."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_step, align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

RNG = np.random.default_rng(0)
FAKE, REAL = RNG.standard_normal((2, 3, 4, 3, 6, 6))[:, 0]
BATCH = [FAKE, REAL]


class Critic(tnn.Module):
    def __init__(self, norm=None):
        super().__init__()
        self.conv = tnn.Conv2d(3, 4, 3, padding=1)
        self.norm = norm or tnn.InstanceNorm2d(4, affine=True)
        self.head = tnn.Linear(4, 1)

    def forward(self, x):
        x = self.norm(torch.tanh(self.conv(x)))
        return self.head(torch.sigmoid(x).mean((2, 3)))


class CriticPaddle(pnn.Layer):
    def __init__(self, norm=None, epsilon=1e-5, detached=False):
        super().__init__()
        self.conv = pnn.Conv2D(3, 4, 3, padding=1)
        self.norm = norm or pnn.InstanceNorm2D(4, epsilon=epsilon)
        self.head = pnn.Linear(4, 1)
        self.detached = detached

    def forward(self, x):
        x = self.conv(x)
        x = self.norm(paddle.tanh(x.detach() if self.detached else x))
        return self.head(paddle.nn.functional.sigmoid(x).mean([2, 3]))


def wgan_gp(out, real, *, net, inputs, draw=False):
    share = torch.rand(len(real), 1, 1, 1, dtype=real.dtype) if draw else 0.3
    between = (share * real + (1 - share) * inputs.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(net(between).sum(), between, create_graph=True)
    penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    return out.mean() - net(real).mean() + 10.0 * penalty


def wgan_gp_paddle(weight=10.0, create_graph=True, draw=False):
    def loss(out, real, *, net, inputs):
        share = paddle.rand([len(real), 1, 1, 1]).astype(real.dtype) if draw else 0.3
        between = share * real + (1 - share) * inputs.detach()
        between.stop_gradient = False
        (slope,) = paddle.grad(net(between).sum(), between, create_graph=create_graph)
        penalty = ((slope.flatten(1).norm(axis=1) - 1) ** 2).mean()
        return out.mean() - net(real).mean() + weight * penalty

    return loss


def r1(out, real, *, inputs):
    (slope,) = torch.autograd.grad(out.sum(), inputs, create_graph=True)
    return torch.nn.functional.softplus(-out).mean() + 5.0 * (slope**2).sum((1, 2, 3)).mean()


def r1_paddle(out, real, *, inputs):
    (slope,) = paddle.grad(out.sum(), inputs, create_graph=True)
    return paddle.nn.functional.softplus(-out).mean() + 5.0 * (slope**2).sum([1, 2, 3]).mean()


def plain(out, real):
    return torch.nn.functional.softplus(-out).mean()


def plain_paddle(out, real):
    return paddle.nn.functional.softplus(-out).mean()


class Flat(tnn.Module):
    def forward(self, out, real):
        (slope,) = torch.autograd.grad((out**3).sum(), out, create_graph=True)
        return (slope**2).mean()


class FlatPaddle(pnn.Layer):
    def forward(self, out, real):
        (slope,) = paddle.grad((out**3).sum(), out, create_graph=True)
        return (slope**2).mean()


def pair(theirs=None, ours=None, **changes):
    torch.manual_seed(0)
    theirs, ours = Critic(theirs), CriticPaddle(ours, **changes)
    fill_port(LiveReference(theirs), ours)
    return theirs, ours


def sgd(held):
    return torch.optim.Adam(held, 0.01)


def sgd_paddle(held):
    return paddle.optimizer.Adam(0.01, parameters=held)


def step(nets, *losses):
    return align_step(*nets, BATCH, *losses, sgd, sgd_paddle)


def training(nets, *losses):
    return align_training(*nets, [BATCH, BATCH[::-1]], *losses, sgd, sgd_paddle)


RUNGS = {"backward": lambda nets, *losses: align_backward(*nets, BATCH, *losses), "step": step}
RUNGS["training"] = training
RIGHT = {
    "wgan-gp": (wgan_gp, wgan_gp_paddle()),
    "r1": (r1, r1_paddle),
    "a module": (Flat(), FlatPaddle()),
}
WRONG = {
    "weight": ((wgan_gp, wgan_gp_paddle(9.99)), {}),
    "create_graph": ((wgan_gp, wgan_gp_paddle(create_graph=False)), {}),
    "no penalty": ((r1, plain_paddle), {}),
    "penalty of the port": ((plain, r1_paddle), {}),
    "epsilon": ((wgan_gp, wgan_gp_paddle()), {"epsilon": 1e-4}),
    "detached": ((r1, r1_paddle), {"detached": True}),
}
BLAMED = {"epsilon": "norm", "detached": ""}


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("kind", RIGHT)
def test_the_right_port_passes(rung, kind):
    nets = pair()
    before = {key: value.numpy().copy() for key, value in nets[1].state_dict().items()}
    report = RUNGS[rung](nets, *RIGHT[kind])
    assert report.exit_code == 0, report.verdict
    assert any("differentiates the net" in str(note) for note in report.notes)
    whole = {c.where for c in report.calls if c.layer == "(loss)" and c.at.is_gradient}
    assert {"grad_input:0", "grad:conv.weight", "grad:head.weight"} <= whole
    assert all((value.numpy() == before[key]).all() for key, value in nets[1].state_dict().items())
    assert all(held.grad is None for held in nets[1].parameters())


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_port_is_found(rung, kind):
    losses, changes = WRONG[kind]
    report = RUNGS[rung](pair(**changes), *losses)
    assert report.exit_code == 1, report.verdict
    assert {found.layer for found in report.divergences} == {BLAMED.get(kind, "(loss)")}


def test_an_operator_without_second_derivative_is_told_with_its_line():
    norms = tnn.GroupNorm(2, 4), pnn.GroupNorm(2, 4)
    for rung in RUNGS.values():
        report = rung(pair(*norms), *RIGHT["wgan-gp"])
        assert report.exit_code == 2
        assert "group_norm_grad" in report.verdict
        assert "test_whole_run.py" in report.verdict


class CriticInPlace(Critic):
    def forward(self, x):
        return self.head(self.norm(self.conv(x).add_(0.5)).mean((2, 3)))


class CriticOfCopies(CriticPaddle):
    def forward(self, x):
        return self.head(self.norm(self.conv(x) + 0.5).mean([2, 3]))


def filled(theirs, ours):
    fill_port(LiveReference(theirs), ours)
    return theirs, ours


def test_a_net_that_works_in_place_passes():
    nets = filled(CriticInPlace(tnn.ReLU(inplace=True)), CriticOfCopies(pnn.ReLU()))
    assert align_backward(*nets, BATCH, *RIGHT["r1"]).exit_code == 0


def test_inexact_kernels_of_the_net_are_allowed_for():
    class Pooled(tnn.Module):
        def forward(self, x):
            return torch.nn.functional.avg_pool2d(torch.tanh(x), 3, 1, 1)

    class PooledPaddle(pnn.Layer):
        def forward(self, x):
            pool = paddle.nn.functional.avg_pool2d
            return pool(paddle.tanh(x), 3, 1, 1, exclusive=False)

    nets = pair(Pooled(), PooledPaddle())
    assert align_backward(*nets, BATCH, *RIGHT["r1"]).exit_code == 0


def test_what_the_loss_draws_is_given_to_the_port():
    def loss(out, real, *, net, inputs):
        return wgan_gp(out, real, net=net, inputs=inputs, draw=True)

    report = training(pair(), loss, wgan_gp_paddle(draw=True))
    assert report.exit_code == 0, report.verdict
    assert max(report.settings["free_run"]) < 1e-9
    assert step(pair(), loss, wgan_gp_paddle(9.9, draw=True)).exit_code == 1
    assert step(pair(), loss, wgan_gp_paddle()).exit_code == 1
    assert step(pair(), wgan_gp, wgan_gp_paddle(draw=True)).exit_code == 1


def test_what_the_net_draws_cannot_be_checked():
    report = step(pair(tnn.Dropout(0.5), pnn.Dropout(0.5)), *RIGHT["r1"])
    assert report.exit_code == 2
    assert "random numbers" in report.verdict
    assert "give it a rate of 0, or compare in eval mode" in report.verdict
    report = step(pair(tnn.Dropout(0.0), pnn.Dropout(0.0)), *RIGHT["r1"])
    assert report.exit_code == 0


def test_a_dropout_that_paddle_cannot_differentiate_twice_is_said():
    """In eval mode too, where no number is drawn."""
    nets = pair(tnn.Dropout(0.5), pnn.Dropout(0.5))
    report = align_backward(*nets, BATCH, *RIGHT["r1"], train=False)
    assert report.exit_code == 2
    assert "cannot differentiate that operator a second time" in report.verdict
    assert "a rate of 0" in report.verdict


def test_buffers_that_the_loss_changes_cannot_be_checked():
    def norms():
        return tnn.BatchNorm2d(4), pnn.BatchNorm2D(4)

    assert step(pair(*norms()), *RIGHT["r1"]).exit_code == 0
    report = step(pair(*norms()), *RIGHT["wgan-gp"])
    assert report.exit_code == 2
    assert "norm.running_mean" in report.verdict


def test_a_missing_gradient_is_found():
    def half(out, real, *, inputs):
        (slope,) = torch.autograd.grad(out.sum(), inputs, create_graph=True)
        return (slope**2).mean() + 0.0 * out.mean()

    def half_paddle(out, real, *, inputs):
        (slope,) = paddle.grad(out.sum(), inputs, create_graph=True)
        return (slope.detach() ** 2).mean() + 0.0 * out.mean()

    report = align_backward(*pair(), BATCH, half, half_paddle)
    assert report.exit_code == 1
    assert {found.layer for found in report.divergences} == {"(loss)"}


def test_a_first_difference_is_told_and_what_follows_from_it_is_not():
    report = align_backward(*pair(), BATCH, wgan_gp, wgan_gp_paddle(9.99))
    assert [(found.layer, found.where) for found in report.divergences] == [("(loss)", "loss")]
    report = align_backward(*pair(), BATCH, wgan_gp, wgan_gp_paddle(create_graph=False))
    assert all("create_graph" in str(found.cause) for found in report.divergences)
