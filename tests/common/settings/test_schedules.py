"""Schedules of a config: a warm-up in front of any, and what is refused."""

import pytest

from common.errors import ConfigError
from common.settings.load import load_settings
from tests.paths import ROOT

CONFIG = ROOT / "configs" / "stdc1_toy.yml"
BASE = ["train.iterations=50", "train.eval_interval=10"]


def rates_of(schedule, *more):
    settings = load_settings(CONFIG, [*BASE, f"schedule={schedule}", *more])
    return [settings.learning_rate(step) for step in range(settings.train.iterations)]


def after_torchs_warmup(make, growth=None):
    """Return the rates of torch's SequentialLR: LinearLR for 10 steps, then another scheduler."""
    torch = pytest.importorskip("torch")
    of = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    warm = of.LinearLR(optimizer, start_factor=0.1, total_iters=10)
    scheduler = of.SequentialLR(optimizer, [warm, make(of, optimizer)], [10])
    rates = []
    for _ in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


WARM = "warmup: {steps: 10, start_lr: 0.03}"


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        ("name: poly, power: 0.9", lambda of, o: of.PolynomialLR(o, 40, 0.9)),
        ("name: cosine", lambda of, o: of.CosineAnnealingLR(o, 40)),
        ("name: cosine, first_cycle: 8", lambda of, o: of.CosineAnnealingWarmRestarts(o, 8)),
        ("name: step_decay, size: 9", lambda of, o: of.StepLR(o, 9, 0.1)),
        ("name: multistep, milestones: [4, 30]", lambda of, o: of.MultiStepLR(o, [4, 30])),
        ("name: constant", lambda of, o: of.ConstantLR(o, 1.0)),
    ],
)
def test_a_warm_up_stands_in_front_of_any_schedule_as_torchs(schedule, theirs):
    ours = rates_of(f"{{{schedule}, base_lr: 0.3, {WARM}}}")
    assert ours == pytest.approx(after_torchs_warmup(theirs), rel=1e-12, abs=1e-15)


def test_a_geometric_warm_up_and_poly_are_the_authors_schedule():
    warm = "warmup: {steps: 10, start_lr: 0.003, growth: geometric}"
    ours = rates_of(f"{{name: poly, base_lr: 0.3, {warm}}}")
    old = "{name: warmup_poly, base_lr: 0.3, warmup_start_lr: 0.003, warmup_steps: 10}"
    assert ours == pytest.approx(rates_of(old), rel=1e-12)


def test_a_warm_up_within_a_schedule_is_detectron2s():
    warm = "warmup: {steps: 10, start_lr: 0.0003, within: true}"
    ours = rates_of(f"{{name: poly, base_lr: 0.3, {warm}}}")
    # WarmupPolyLR: base * (0.001 (1 - a) + a) * (1 - step / 50)^0.9, a = min(step / 10, 1).
    share = [min(step / 10, 1) for step in range(50)]
    theirs = [0.3 * (0.001 * (1 - a) + a) * (1 - n / 50) ** 0.9 for n, a in enumerate(share)]
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_a_warm_up_leads_to_where_the_schedule_begins():
    schedule = "{name: one_cycle, base_lr: 0.5, warmup: {steps: 10}}"
    rates = rates_of(schedule)
    assert (rates[0], rates[10]) == (0.0, 0.5 / 25)
    assert rates[5] == pytest.approx(0.5 / 50)
    settings = load_settings(
        CONFIG, [*BASE, "schedule={name: plateau, base_lr: 1, warmup: {steps: 2}}"]
    )
    assert [settings.learning_rate(step, 1) for step in range(3)] == pytest.approx([0, 0.05, 0.1])


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ("{name: poly, base_lr: 1, warmup: {steps: 50}}", "warmup.steps is 50"),
        ("{name: poly, base_lr: 1, warmup: {steps: 0}}", "schedule.warmup.steps is 0"),
        ("{name: poly, base_lr: 1, warmup: {steps: 5, growth: geometric}}", "start_lr is 0"),
        ("{name: poly, base_lr: 1, warmup: {step: 5}}", "did you mean schedule.warmup.steps?"),
        ("{name: poly, base_lr: 1, warmup: 5}", "expected keys below it"),
        ("{name: cosin, base_lr: 1}", "did you mean cosine?"),
        ("{name: cosine, base_lr: 1, end_lr: 2}", "end_lr is 2"),
        ("{name: multistep, base_lr: 1}", "schedule.milestones is not set"),
        ("{name: multistep, base_lr: 1, milestones: [9, 3]}", "growing steps"),
        ("{name: step_decay, base_lr: 1}", "schedule.size is not set"),
        ("{name: one_cycle, base_lr: 1, rise: 1.5}", "schedule.rise is 1.5"),
        ("{name: one_cycle, base_lr: 1, max_steps: 20}", "fewer than train.iterations"),
        ("{name: constant, base_lr: 1, milestones: [9]}", "is a setting of multistep"),
    ],
)
def test_a_schedule_that_means_nothing_is_refused_by_its_key(schedule, told):
    with pytest.raises(ConfigError) as caught:
        rates_of(schedule)
    assert told in str(caught.value)
