"""Optimizers beyond SGD and Adam: slots and settings are known by their meaning."""

import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from torch import optim as theirs

from align import align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import UserError

ours = paddle.optimizer


def run(their_optimizer, our_optimizer, steps=4):
    reference, port = torch.nn.Linear(4, 3), paddle.nn.Linear(4, 3)
    fill_port(LiveReference(reference), port)
    draw = np.random.default_rng(0)
    batches = [(draw.standard_normal((5, 4)), draw.integers(0, 3, 5)) for _ in range(steps)]
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
    assert {d.cause for d in report.divergences} == {
        "the optimizer's rho is 0.95, the reference's 0.9"
    }


def test_nadam_with_another_beta_is_found():
    if not hasattr(ours, "NAdam"):
        pytest.skip("this Paddle has none")
    report = run(EQUAL["NAdam"][0], lambda p: ours.NAdam(0.01, beta1=0.8, parameters=p))
    assert "(beta1, beta2) is (0.8, 0.999)" in report.divergences[0].cause


def adamax(**options):
    return lambda p: ours.Adamax(0.01, parameters=p, **options)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_epsilon_of_adamax_is_a_known_difference_as_predicted(decay):
    report = run(lambda p: theirs.Adamax(p, 0.01, weight_decay=decay), adamax(weight_decay=decay))
    assert report.exit_code == 0, report.verdict
    notes = [note for note in report.notes if "known difference" in note]
    assert len(notes) == 1
    assert "max(beta2 * inf_norm + epsilon, |gradient|)" in notes[0]
    assert "2 tensors are as predicted" in notes[0]


def of_their_own(parameters):
    """An Adamax of gradients that are not the reference's."""

    class Own(ours.Adamax):
        def step(self):
            for p in self._parameter_list:
                p.grad.set_value(p.grad * 1.001)
            super().step()

    return Own(0.01, parameters=parameters)


WRONG_ADAMAX = {
    "betas": (adamax(beta2=0.99), "(beta1, beta2) is (0.9, 0.99)"),
    "epsilon": (adamax(epsilon=1e-3), "epsilon is 0.001"),
    "gradient": (of_their_own, ""),
}


@pytest.mark.parametrize("name", WRONG_ADAMAX)
def test_an_adamax_of_other_settings_is_no_known_difference(name):
    port, words = WRONG_ADAMAX[name]
    report = run(lambda p: theirs.Adamax(p, 0.01), port)
    assert report.exit_code == 1
    assert words in (report.divergences[0].cause or "")
    assert not any("known difference" in note for note in report.notes)


sgd, adam = (lambda p: theirs.SGD(p, lr=0.1)), (lambda p: theirs.Adam(p, lr=0.01))
decaying = paddle.regularizer.L1Decay(0.1)
CAUSES = {
    "dampening": (
        lambda p: theirs.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
        lambda p: ours.Momentum(0.1, 0.9, p),
        ["dampening is 0, the reference's 0.5", "no optimizer of Paddle has dampening"],
    ),
    "maximize": (
        lambda p: theirs.SGD(p, lr=0.1, maximize=True),
        lambda p: ours.SGD(0.1, p),
        ["maximize is False, the reference's True"],
    ),
    "nesterov": (
        lambda p: theirs.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: ours.Momentum(0.1, 0.9, p),
        ["nesterov is False, the reference's True"],
    ),
    "coupled decay": (
        lambda p: theirs.AdamW(p, lr=0.01),
        lambda p: ours.Adam(0.01, parameters=p, weight_decay=0.01),
        ["weight decay is coupled (Adam)"],
    ),
    "absolute decay": (
        lambda p: theirs.SGD(p, lr=0.1, weight_decay=0.1),
        lambda p: ours.SGD(0.1, parameters=p, weight_decay=decaying),
        ["decays by the absolute value (L1Decay, 0.1)"],
    ),
    "epsilon of RMSProp": (
        lambda p: theirs.RMSprop(p, lr=0.01),
        lambda p: ours.RMSProp(0.01, rho=0.99, epsilon=1e-8, parameters=p),
        ["adds epsilon inside the root"],
    ),
    "another class": (
        adam,
        lambda p: ours.Lamb(0.01, parameters=p),
        ["Paddle's Lamb, the reference's torch's Adam", "take Adam / AdamW"],
    ),
    "no counterpart": (
        lambda p: theirs.Adafactor(p, lr=0.01),
        lambda p: ours.Adam(0.01, parameters=p),
        ["Paddle has no Adafactor: write its step"],
    ),
    "ASGD": (
        lambda p: theirs.ASGD(p, lr=0.01),
        lambda p: ours.ASGD(0.01, batch_num=1, parameters=p),
        ["Paddle's ASGD is another algorithm", "write torch's step as a class of your own"],
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_what_an_optimizer_does_otherwise_is_said(name):
    if name == "ASGD" and not hasattr(ours, "ASGD"):
        pytest.skip("this Paddle has none")
    their_optimizer, our_optimizer, words = CAUSES[name]
    report = run(their_optimizer, our_optimizer)
    assert report.exit_code == 1
    causes = {divergence.cause for divergence in report.divergences}
    assert len(causes) == 1, causes
    assert all(each in next(iter(causes)) for each in words), causes
    assert "as with" not in next(iter(causes))


HEALTHY = {
    "amsgrad": (
        lambda p: theirs.Adam(p, lr=0.01, amsgrad=True),
        lambda p: ours.Adam(0.01, parameters=p, amsgrad=True),
    ),
    "fused": (
        lambda p: theirs.AdamW(p, lr=0.01, fused=True),
        lambda p: ours.AdamW(0.01, parameters=p, weight_decay=0.01),
    ),
    "foreach": (
        lambda p: theirs.SGD(p, lr=0.1, momentum=0.9, foreach=True),
        lambda p: ours.Momentum(0.1, 0.9, p),
    ),
    "nesterov": (
        lambda p: theirs.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: ours.Momentum(0.1, 0.9, p, use_nesterov=True),
    ),
    "groups": (
        lambda p: theirs.AdamW(
            [
                {"params": p[:1], "lr": 0.02, "weight_decay": 0.1},
                {"params": p[1:], "weight_decay": 0.0},
            ],
            lr=0.01,
        ),
        lambda p: ours.AdamW(
            0.01,
            parameters=[
                {"params": p[:1], "learning_rate": 2.0, "weight_decay": 0.1},
                {"params": p[1:], "weight_decay": 0.0},
            ],
        ),
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_options_that_change_nothing_or_are_met_are_aligned(name):
    if name == "amsgrad" and "amsgrad" not in inspect.signature(ours.Adam).parameters:
        pytest.skip("this Paddle's Adam has no such option")
    report = run(*HEALTHY[name])
    assert report.exit_code == 0, report.verdict
    assert not any("known difference" in note for note in report.notes)


@pytest.mark.parametrize("side", ["reference", "port"])
def test_a_step_that_needs_a_closure_is_said_in_one_line(side):
    if not hasattr(ours, "LBFGS"):
        pytest.skip("this Paddle has none")
    needs = (lambda p: theirs.LBFGS(p)), (lambda p: ours.LBFGS(parameters=p))
    pair = (needs[0], lambda p: ours.SGD(0.1, p)) if side == "reference" else (sgd, needs[1])
    with pytest.raises(UserError, match=f"the {side}'s optimizer LBFGS takes a step only with clo"):
        run(*pair)


def test_an_absolute_rate_of_a_group_is_told_as_the_factor_that_paddle_needs():
    report = run(
        lambda p: theirs.SGD([{"params": p[:1], "lr": 0.2}, {"params": p[1:]}], lr=0.1),
        lambda p: ours.SGD(0.1, [{"params": p[:1], "learning_rate": 0.2}, {"params": p[1:]}]),
    )
    assert {d.where for d in report.divergences} == {"lr"}
    assert "the rate is 0.02, the reference has 0.2" in report.divergences[0].cause
    assert "give 2" in report.divergences[0].cause


def test_a_scheduler_that_wraps_a_step_hides_nothing_of_it():
    """torch's schedulers put a function in place of the method."""

    def with_schedule(optimizer):
        optimizer.schedule = theirs.lr_scheduler.StepLR(optimizer, 9)
        return optimizer

    decay = ours.lr.StepDecay(0.1, 9)
    report = run(
        lambda p: with_schedule(theirs.SGD(p, lr=0.1)), lambda p: ours.SGD(decay, parameters=p)
    )
    assert report.exit_code == 0, report.verdict
    with pytest.raises(UserError, match="LBFGS takes a step only with closure"):
        run(lambda p: with_schedule(theirs.LBFGS(p)), lambda p: ours.SGD(0.1, parameters=p))


UNSHOWN = {
    "first steps of RAdam": (
        lambda p: theirs.RAdam(p, lr=0.01),
        lambda p: ours.RAdam(0.01, epsilon=1e-3, parameters=p),
        "setting:eps",
    ),
    "first step of momentum": (
        lambda p: theirs.SGD(p, lr=0.1, momentum=0.9),
        lambda p: ours.Momentum(0.1, 0.8, parameters=p),
        "setting:momentum",
    ),
    "dampening": (
        lambda p: theirs.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
        lambda p: ours.Momentum(0.1, 0.9, parameters=p),
        "setting:dampening",
    ),
    "nesterov without momentum": (
        lambda p: theirs.SGD(p, lr=0.1),
        lambda p: ours.Momentum(0.1, 0.0, use_nesterov=True, parameters=p),
        "",
    ),
}


@pytest.mark.parametrize("name", UNSHOWN)
def test_settings_that_one_step_does_not_show_are_tried_over_many(name):
    their_optimizer, our_optimizer, where = UNSHOWN[name]
    if not hasattr(ours, "RAdam") and "RAdam" in name:
        pytest.skip("this Paddle has none")
    report = run(their_optimizer, our_optimizer, steps=1)
    assert report.exit_code == bool(where), report.verdict
    assert [(d.layer, d.where) for d in report.divergences] == [("(optimizer)", where)][
        : bool(where)
    ]
    assert not where or "these steps do not show it" in report.divergences[0].cause
