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
