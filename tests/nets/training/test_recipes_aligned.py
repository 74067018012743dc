"""Every optimizer, clipping and schedule of a config is aligned; a wrong one is found."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.settings.load import load_settings
from paddle_impl.optim import build_optimizer as build_port
from tests.paths import ROOT
from torch_ref.optim import build_optimizer as build_reference

CONFIG = ROOT / "configs" / "stdc1_toy.yml"
PADDLE2 = paddle.__version__.startswith("2.")
RATE = "{name: constant, base_lr: 0.05}"
GROUPS = "[{match: '^0', lr_multiplier: 0.1}, {match: bias, weight_decay: 0.0}]"


def nets():
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 1)
    )
    ours = paddle.nn.Sequential(
        paddle.nn.Conv2D(3, 4, 3),
        paddle.nn.BatchNorm2D(4),
        paddle.nn.ReLU(),
        paddle.nn.Conv2D(4, 5, 1),
    )
    fill_port(LiveReference(theirs), ours)
    return theirs, ours


def settings_of(optimizer, schedule=RATE):
    overrides = [f"optimizer={optimizer}", f"schedule={schedule}", "train.iterations=40"]
    return load_settings(CONFIG, overrides)


def align(reference, port, steps=2):
    """Align a recipe with another one; each is (optimizer, schedule) of a config."""
    theirs, ours = nets()
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    batches = [
        (draw.standard_normal((2, 3, 6, 7)), draw.integers(0, 5, (2, 4, 5))) for _ in range(steps)
    ]
    one, other = settings_of(*reference), settings_of(*port)

    def port_loss(outputs, label):
        return paddle.nn.functional.cross_entropy(outputs, label, axis=1)

    return align_training(
        theirs,
        ours,
        batches,
        torch.nn.functional.cross_entropy,
        port_loss,
        lambda _: build_reference(
            one.optimizer.name, theirs, base_lr=0.05, **one.optimizer.options
        ),
        lambda _: build_port(other.optimizer.name, ours, base_lr=0.05, **other.optimizer.options),
        one.learning_rate,
        other.learning_rate,
    )


SGD = "{name: sgd, momentum: 0.9, weight_decay: 0.01}"
ADAM = "{name: adam, weight_decay: 0.01}"
ADAMW = "{name: adamw, weight_decay: 0.05}"
# A recipe, one that is not the same, and the place where that shows.
OPTIMIZERS = {
    "nesterov": ("{name: sgd, nesterov: true}", "{name: sgd}", "weight:weight"),
    "adam": (ADAM, ADAMW, "weight:weight"),
    "adam, betas": (ADAM, "{name: adam, weight_decay: 0.01, betas: [0.9, 0.99]}", "exp_avg_sq"),
    "adam, epsilon": (ADAM, "{name: adam, weight_decay: 0.01, epsilon: 1e-6}", "weight:weight"),
    "adamw": (ADAMW, "{name: adamw, weight_decay: 0.01}", "weight:weight"),
    "groups": (
        f"{{name: adamw, groups: {GROUPS}}}",
        f"{{name: adamw, groups: {GROUPS.replace('0.1', '0.2')}}}",
        "lr",
    ),
    "groups, decay": (
        f"{{name: sgd, weight_decay: 0.1, groups: {GROUPS}}}",
        "{name: sgd, weight_decay: 0.1, groups: [{match: '^0', lr_multiplier: 0.1}]}",
        "weight:bias",
    ),
}
CLIPS = ["{by: value, limit: 0.01}", "{by: norm, limit: 0.05}", "{by: global_norm, limit: 0.05}"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    good, wrong, place = OPTIMIZERS[name]
    report = align((good, RATE), (good, RATE))
    assert report.exit_code == 0, report.verdict
    report = align((good, RATE), (wrong, RATE))
    assert report.exit_code == 1
    assert any(place in found.where for found in report.divergences)


@pytest.mark.skipif(PADDLE2, reason="none in Paddle 2")
def test_amsgrad():
    good = ("{name: adam, amsgrad: true, betas: [0.5, 0.5]}", RATE)
    assert align(good, good).exit_code == 0
    report = align(good, ("{name: adam, betas: [0.5, 0.5]}", RATE))
    assert report.exit_code == 1


@pytest.mark.parametrize(("kind", "number"), [("sgd", 0), ("sgd", 1), ("sgd", 2), ("adamw", 2)])
def test_clipping(kind, number):
    recipes = [
        (f"{{name: {kind}, clip: {clip}, groups: [{{match: '^0'}}]}}", RATE) for clip in CLIPS
    ]
    report = align(recipes[number], recipes[number])
    assert report.exit_code == 0, report.verdict
    report = align(recipes[number], recipes[number - 1])
    assert report.exit_code == 1
    assert "clip" in report.divergences[0].cause


WARM = "base_lr: 0.05, warmup: {steps: 3, start_lr: 0.01}"
SCHEDULES = {
    "cosine": (f"{{name: cosine, {WARM}}}", "{name: cosine, base_lr: 0.05}"),
    "one_cycle": (
        "{name: one_cycle, base_lr: 0.05}",
        "{name: one_cycle, base_lr: 0.05, anneal: linear}",
    ),
    "growth": (
        "{name: poly, base_lr: 0.05, warmup: {steps: 3, start_lr: 0.01, growth: geometric}}",
        "{name: poly, base_lr: 0.05, warmup: {steps: 3, start_lr: 0.01}}",
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    good, wrong = ((SGD, schedule) for schedule in SCHEDULES[name])
    assert align(good, good).exit_code == 0
    report = align(good, wrong)
    assert report.exit_code == 1
    assert {found.where for found in report.divergences} == {"lr"}
