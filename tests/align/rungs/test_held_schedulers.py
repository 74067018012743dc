"""Schedulers that optimizers hold are stepped; without one of the reference no rate is "equal"."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from torch.optim import lr_scheduler as theirs
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from align import align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

ours = paddle.optimizer.lr


def run(their_schedule, our_schedule, own_step=False, keep="on", **schedules):
    """Align four steps; `own_step`: the optimizers step their schedulers themselves."""
    reference, port = torch.nn.Linear(4, 3), paddle.nn.Linear(4, 3)
    fill_port(LiveReference(reference), port)
    draw = np.random.default_rng(0)
    batches = [(draw.standard_normal((5, 4)), draw.integers(0, 3, 5)) for _ in range(4)]

    class Sgd(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            if own_step:
                self.schedule.step()

    class PaddleSgd(paddle.optimizer.SGD):
        def step(self):
            super().step()
            if own_step:
                self._learning_rate.step()

    kept = []

    def their_optimizer(parameters):
        made = Sgd(parameters, 0.1)
        if their_schedule is not None:
            schedule = their_schedule(made)
            if keep == "on":
                made.schedule = schedule
            elif keep == "aside":
                kept.append(schedule)
        return made

    def our_optimizer(parameters):
        return PaddleSgd(our_schedule(), parameters=parameters)

    losses = torch.nn.functional.cross_entropy, paddle.nn.functional.cross_entropy
    return align_training(
        reference, port, batches, *losses, their_optimizer, our_optimizer, **schedules
    )


def rates(report):
    return [(call.step, call.verdict) for call in report.calls if call.where == "lr"]


EQUAL = {
    "step": (lambda o: StepLR(o, 2, 0.1), lambda: ours.StepDecay(0.1, 2, 0.1)),
    "cosine": (lambda o: CosineAnnealingLR(o, 10), lambda: ours.CosineAnnealingDecay(0.1, 10)),
    "warmup": (
        lambda o: theirs.LinearLR(o, 0.1, 1.0, 3),
        lambda: ours.LinearWarmup(0.1, 3, 0.01, 0.1),
    ),
    "plateau": (
        lambda o: theirs.ReduceLROnPlateau(o, patience=0, factor=0.5),
        lambda: ours.ReduceOnPlateau(0.1, patience=0, factor=0.5),
    ),
    "sequence": (
        lambda o: theirs.SequentialLR(o, [StepLR(o, 9), StepLR(o, 9, 0.5)], [9]),
        lambda: ours.StepDecay(0.1, 9, 0.1),
    ),
}


@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("keep", ["on", "aside"])
def test_equal_schedules_are_stepped_and_aligned(name, keep):
    report = run(*EQUAL[name], keep=keep)
    assert report.exit_code == 0, report.verdict
    assert any("schedulers were stepped" in note for note in report.notes)
    assert (
        name in ("sequence", "plateau")
        or len({step["lr"] for step in report.settings["steps"]}) > 1
    )


def test_optimizer_that_steps_its_scheduler_is_not_stepped_twice():
    report = run(*EQUAL["step"], own_step=True)
    assert report.exit_code == 0, report.verdict
    assert [step["lr"] for step in report.settings["steps"]] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01]
    )


@pytest.mark.parametrize(
    "schedule", [lambda: ours.ExponentialDecay(0.1, 0.5), lambda: ours.StepDecay(0.1, 3)]
)
def test_schedules_that_differ_are_found_where_they_act(schedule):
    report = run(EQUAL["step"][0], schedule)
    place = {(d.layer, d.where) for d in report.divergences}
    assert place == {("(optimizer)", "lr")}
    assert report.divergences[0].step in (1, 2)


def test_rate_that_stays_where_the_reference_has_a_schedule_is_a_difference():
    report = run(EQUAL["cosine"][0], lambda: 0.1)
    assert report.exit_code == 1
    assert report.divergences[0].step == 1
    assert "the reference's has CosineAnnealingLR" in report.divergences[0].cause


@pytest.mark.parametrize(
    ("their", "our", "keep"),
    [
        (None, EQUAL["step"][1], "on"),
        (*EQUAL["step"], "not"),
        (EQUAL["step"][0], lambda: 0.1, "not"),
    ],
)
def test_no_rate_is_equal_where_the_references_schedule_is_unknown(their, our, keep):
    report = run(their, our, keep=keep)
    assert rates(report) == [(0, "equal"), *((step, "unchecked") for step in (1, 2, 3))]
    assert report.exit_code == 2
    assert any("first step only" in note and "torch_schedule" in note for note in report.notes)


def test_function_given_for_the_reference_is_compared_with_the_ports_scheduler():
    def schedule(step):
        return 0.1 if step < 2 else 0.01

    report = run(None, EQUAL["step"][1], torch_schedule=schedule)
    assert report.exit_code == 0, report.verdict
    report = run(None, lambda: ours.StepDecay(0.1, 3), torch_schedule=schedule)
    assert {(d.step, d.where) for d in report.divergences} == {(2, "lr")}


def test_plain_rates_are_compared_at_every_step():
    report = run(None, lambda: 0.1)
    assert report.exit_code == 0
    assert rates(report) == [(step, "equal") for step in range(4)]
