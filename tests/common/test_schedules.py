import math
from itertools import pairwise

import numpy as np
import pytest

from common.errors import ConfigError
from common.schedules import SCHEDULES, PlateauState, plateau, poly, warmup_poly

# MichaelFan01/STDC-Seg: the 60,000 steps of the paper.
STDC = {
    "base_lr": 0.01,
    "warmup_start_lr": 1e-5,
    "warmup_steps": 1000,
    "max_steps": 60_000,
    "power": 0.9,
}


@pytest.mark.parametrize(
    ("step", "lr"),
    [
        (0, 1e-5),
        (500, 1e-5 * 1000**0.5),
        (999, 1e-5 * 1000**0.999),
        (1000, 0.01),
        (1001, 0.01 * (1 - 1 / 59_000) ** 0.9),
        (30_000, 0.01 * (30_000 / 59_000) ** 0.9),
        (59_999, 0.01 * (1 / 59_000) ** 0.9),
    ],
)
def test_warmup_poly_gives_the_authors_rates(step, lr):
    assert warmup_poly(step, **STDC) == pytest.approx(lr, rel=1e-12)


def test_warmup_poly_gives_the_rounded_figures_of_the_authors_run():
    figures = [warmup_poly(step, **STDC) for step in (0, 500, 1000, 30_000, 59_999)]
    assert figures == pytest.approx([1e-5, 3.162e-4, 0.01, 5.44054e-3, 5.08e-7], rel=1e-3)


def test_warmup_is_geometric_and_poly_falls_to_zero():
    rates = [warmup_poly(step, **STDC) for step in range(1001)]
    factors = [b / a for a, b in pairwise(rates)]
    assert max(factors) - min(factors) < 1e-12
    assert warmup_poly(60_000, **STDC) == 0.0
    late = [warmup_poly(step, **STDC) for step in range(1000, 60_001, 500)]
    assert late == sorted(late, reverse=True)


def test_warmup_poly_without_warmup_is_poly():
    rest = {"base_lr": 0.01, "max_steps": 60_000, "power": 0.9}
    for step in (0, 1, 30_000, 60_000):
        flat = warmup_poly(step, warmup_start_lr=1e-5, warmup_steps=0, **rest)
        assert flat == poly(step, **rest)
    assert poly(0, **rest) == 0.01
    assert poly(30_000, **rest) == pytest.approx(0.01 * 0.5**0.9, rel=1e-12)


@pytest.mark.parametrize(
    ("step", "change", "told"),
    [
        (-1, {}, "step -1 is outside 0..60000"),
        (60_001, {}, "step 60001 is outside 0..60000"),
        (0, {"base_lr": 0.0}, "base_lr is 0.0"),
        (0, {"warmup_start_lr": -1e-5}, "warmup_start_lr is -1e-05"),
        (0, {"power": float("nan")}, "power is nan"),
        (0, {"warmup_steps": 60_000}, "warmup_steps is 60000, max_steps 60000"),
        (0, {"warmup_steps": -1}, "warmup_steps is -1"),
    ],
)
def test_what_would_be_a_complex_or_meaningless_rate_is_refused(step, change, told):
    with pytest.raises(ConfigError, match=told):
        warmup_poly(step, **{**STDC, **change})


def test_poly_refuses_no_steps():
    with pytest.raises(ConfigError, match="max_steps is 0"):
        poly(0, base_lr=0.1, max_steps=0, power=0.9)


def test_table_holds_the_functions_under_their_names():
    assert {name: function.__name__ for name, function in SCHEDULES.items()} == {
        name: name for name in SCHEDULES
    }


def test_poly_may_change_at_multiples_only():
    """kazuto1011/deeplab-pytorch steps its scheduler every 10 iterations."""
    rates = [poly(k, base_lr=1.0, max_steps=40, power=0.9, every=10) for k in range(41)]
    assert rates == [poly(k // 10 * 10, base_lr=1.0, max_steps=40, power=0.9) for k in range(41)]
    assert len(set(rates)) == 5


def test_plateau_is_torchs():
    """milesial/Pytorch-UNet: ReduceLROnPlateau(optimizer, "max", patience=5)."""
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.zeros(1))
    for base_lr, patience in ((1e-5, 5), (0.3, 0), (0.1, 2)):
        optimizer = torch.optim.SGD([weight], lr=base_lr)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=patience)
        ours = PlateauState()
        rng = np.random.default_rng(0)
        scores = [*rng.random(30), 0.5, 0.50004, 0.5001, math.nan, *[0.9] * 90]
        for score in scores:
            optimizer.step()
            theirs.step(score)
            ours.see(score, base_lr=base_lr, factor=0.1, patience=patience)
            rate = plateau(ours.reductions, base_lr=base_lr, factor=0.1)
            assert rate == optimizer.param_groups[0]["lr"]
        assert ours.reductions >= 3


STEPS = 60
REST = {"base_lr": 0.3, "max_steps": STEPS}
# Ours, then torch's of an optimizer and Paddle's, which mean the same.
SAME = {
    "cosine": (
        {"end_lr": 0.01},
        lambda of, o: of.CosineAnnealingLR(o, STEPS, 0.01),
        lambda of: of.CosineAnnealingDecay(0.3, STEPS, 0.01),
    ),
    "cosine, restarts": (
        {"first_cycle": 7, "cycle_multiplier": 2, "end_lr": 0.02},
        lambda of, o: of.CosineAnnealingWarmRestarts(o, 7, 2, 0.02),
        lambda of: of.CosineAnnealingWarmRestarts(0.3, 7, 2, 0.02),
    ),
    "step_decay": (
        {"size": 7, "gamma": 0.5},
        lambda of, o: of.StepLR(o, 7, 0.5),
        lambda of: of.StepDecay(0.3, 7, 0.5),
    ),
    "multistep": (
        {"milestones": [1, 20, 45], "gamma": 0.3},
        lambda of, o: of.MultiStepLR(o, [1, 20, 45], 0.3),
        lambda of: of.MultiStepDecay(0.3, [1, 20, 45], 0.3),
    ),
    "poly": (
        {"power": 0.9},
        lambda of, o: of.PolynomialLR(o, STEPS, 0.9),
        lambda of: of.PolynomialDecay(0.3, STEPS, 0.0, 0.9),
    ),
    "one_cycle": (
        {},
        lambda of, o: of.OneCycleLR(o, 0.3, STEPS, cycle_momentum=False),
        lambda of: of.OneCycleLR(0.3, STEPS, end_learning_rate=0.3 / 25 / 1e4),
    ),
    "one_cycle, linear": (
        {"rise": 0.4, "anneal": "linear", "start_divisor": 10.0, "end_divisor": 50.0},
        lambda of, o: of.OneCycleLR(
            o,
            0.3,
            STEPS,
            pct_start=0.4,
            anneal_strategy="linear",
            cycle_momentum=False,
            div_factor=10.0,
            final_div_factor=50.0,
        ),
        lambda of: of.OneCycleLR(
            0.3,
            STEPS,
            divide_factor=10.0,
            end_learning_rate=0.3 / 10 / 50,
            phase_pct=0.4,
            anneal_strategy="linear",
        ),
    ),
}


def torchs_rates(make, steps=STEPS):
    """Return the rates of one of torch's schedulers, and of the same after a warm-up of 10."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("name", SAME)
def test_schedules_are_torchs(name):
    options, theirs, _ = SAME[name]
    ours = [SCHEDULES[name.split(",")[0]](k, **REST, **options) for k in range(STEPS)]
    assert ours == pytest.approx(torchs_rates(theirs), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", SAME)
def test_schedules_are_paddles_where_these_mean_the_same(name):
    paddle = pytest.importorskip("paddle")
    options, _, theirs = SAME[name]
    scheduler, rates = theirs(paddle.optimizer.lr), []
    for _ in range(STEPS):
        rates.append(scheduler())
        scheduler.step()
    ours = [SCHEDULES[name.split(",")[0]](k, **REST, **options) for k in range(STEPS)]
    assert ours == pytest.approx(rates, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("cosine", {"end_lr": 0.4}, "end_lr is 0.4"),
        ("cosine", {"first_cycle": 0}, "first_cycle is 0"),
        ("multistep", {"milestones": [5, 3], "gamma": 0.1}, "growing steps"),
        ("multistep", {"milestones": [5, 5], "gamma": 0.1}, "each once"),
        ("step_decay", {"size": 5, "gamma": 0.0}, "gamma is 0.0"),
        ("one_cycle", {"rise": 0.01}, "neither the rise nor the fall may be empty"),
    ],
)
def test_a_schedule_that_means_nothing_is_refused(name, options, told):
    with pytest.raises(ConfigError, match=told):
        SCHEDULES[name](0, **REST, **options)
