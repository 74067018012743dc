"""Optimizers that are classes of the port's own: updates are judged, or one line says why not."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import UserError


class Lion(torch.optim.Optimizer):
    """As its authors publish it."""

    def __init__(self, parameters, lr=1e-3):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.add_(torch.sign(0.9 * m + 0.1 * p.grad), alpha=-group["lr"])
                m.mul_(0.99).add_(p.grad, alpha=0.01)


class PaddleLion:
    def __init__(self, parameters, lr=1e-3, keeps=0.99):
        self.parameters, self.lr, self.keeps, self.averages = parameters, lr, keeps, {}

    @paddle.no_grad()
    def step(self):
        for p in self.parameters:
            m = self.averages.get(p.name, paddle.zeros_like(p))
            p.set_value(p - self.lr * paddle.sign(0.9 * m + 0.1 * p.grad))
            self.averages[p.name] = self.keeps * m + (1 - self.keeps) * p.grad

    def clear_grad(self):
        for p in self.parameters:
            p.clear_grad()

    def get_lr(self):
        return self.lr


def run(ours, theirs=Lion):
    reference, port = torch.nn.Linear(4, 3), paddle.nn.Linear(4, 3)
    fill_port(LiveReference(reference), port)
    draw = np.random.default_rng(0)
    batches = [(draw.standard_normal((5, 4)), draw.integers(0, 3, 5)) for _ in range(4)]
    losses = torch.nn.functional.cross_entropy, paddle.nn.functional.cross_entropy
    return align_training(reference, port, batches, *losses, theirs, ours)


def test_updates_of_a_plain_class_are_judged():
    report = run(PaddleLion)
    assert report.exit_code == 0, report.verdict
    assert any("PaddleLion" in note and "slots were not" in note for note in report.notes)
    assert not any(call.where.startswith("slot:") for call in report.calls)
    assert sum(call.where == "weight:weight" for call in report.calls) == 4


def test_another_average_of_a_plain_class_shows_in_a_later_update():
    report = run(lambda p: PaddleLion(p, keeps=0.1))
    assert report.exit_code == 1
    assert min(d.step for d in report.divergences) >= 1


def test_another_rate_of_a_plain_class_is_the_rates_fault_alone():
    report = run(lambda p: PaddleLion(p, lr=2e-3))
    assert {d.where for d in report.divergences} == {"lr"}


class Closed:
    def __init__(self, parameters):
        pass

    def step(self):
        pass


def test_what_is_no_optimizer_is_said_in_one_line():
    with pytest.raises(UserError, match="port's optimizer is of Closed, which has no clear_grad"):
        run(Closed)
    with pytest.raises(UserError, match="port's optimizer is of NoneType"):
        run(lambda p: None)
    with pytest.raises(UserError, match="reference's optimizer is of Closed, which has no zero_gr"):
        run(PaddleLion, Closed)
