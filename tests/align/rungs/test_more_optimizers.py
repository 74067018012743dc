"""Optimizers beyond SGD and Adam: slots and settings are known by their meaning."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from torch import optim as theirs

from align import align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

ours = paddle.optimizer


def run(their_optimizer, our_optimizer):
    reference, port = torch.nn.Linear(4, 3), paddle.nn.Linear(4, 3)
    fill_port(LiveReference(reference), port)
    draw = np.random.default_rng(0)
    batches = [(draw.standard_normal((5, 4)), draw.integers(0, 3, 5)) for _ in range(4)]
    losses = torch.nn.functional.cross_entropy, paddle.nn.functional.cross_entropy
    return align_training(reference, port, batches, *losses, their_optimizer, our_optimizer)


def adadelta(rho=0.9):
    return lambda p: ours.Adadelta(0.5, rho=rho, epsilon=1e-6, parameters=p)


EQUAL = {
    "Adadelta": (lambda p: theirs.Adadelta(p, lr=0.5), adadelta(), {"square_avg", "acc_delta"}),
    "NAdam": (
        lambda p: theirs.NAdam(p, lr=0.01),
        lambda p: ours.NAdam(0.01, parameters=p),
        {"exp_avg", "exp_avg_sq"},
    ),
    "RAdam": (
        lambda p: theirs.RAdam(p, lr=0.01),
        lambda p: ours.RAdam(0.01, parameters=p),
        {"exp_avg", "exp_avg_sq"},
    ),
    "Rprop": (
        lambda p: theirs.Rprop(p, lr=0.01),
        lambda p: ours.Rprop(0.01, learning_rate_range=(1e-6, 50.0), parameters=p),
        {"prev", "step_size"},
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_slots_and_updates_are_aligned(name):
    if not hasattr(ours, name):
        pytest.skip("this Paddle has none")
    report = run(*EQUAL[name][:2])
    assert report.exit_code == 0, report.verdict
    slots = {call.at.name for call in report.calls if call.where.startswith("slot:weight")}
    assert slots == {f"weight.{slot}" for slot in EQUAL[name][2]}


def test_setting_that_differs_is_named():
    report = run(EQUAL["Adadelta"][0], adadelta(0.95))
    assert {d.cause for d in report.divergences} == {"rho is 0.95, the reference has 0.9"}


def test_nadam_with_another_beta_is_found():
    if not hasattr(ours, "NAdam"):
        pytest.skip("this Paddle has none")
    report = run(EQUAL["NAdam"][0], lambda p: ours.NAdam(0.01, beta1=0.8, parameters=p))
    assert "(beta1, beta2) is (0.8, 0.999)" in report.divergences[0].cause
