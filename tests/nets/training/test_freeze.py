"""Frozen parameters and statistics: they stand still, and alignment knows them."""

import importlib

import numpy as np
import pytest

from align import align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.data import Batch
from common.errors import ConfigError
from common.settings.load import load_settings
from tests.paths import ROOT

CONFIG = ROOT / "configs" / "stdc1_toy.yml"


class Torch:
    room = "torch_ref"

    def __init__(self):
        self.fw = pytest.importorskip("torch")

    def net(self):
        nn = self.fw.nn
        stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        return nn.Sequential(stem, nn.Sequential(nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)))

    def sgd(self, net):
        return self.fw.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)


class Paddle(Torch):
    room = "paddle_impl"

    def __init__(self):
        self.fw = pytest.importorskip("paddle")

    def net(self):
        from paddle_impl.layers import BatchNorm2D

        nn = self.fw.nn
        stem = nn.Sequential(nn.Conv2D(3, 4, 3), BatchNorm2D(4), nn.ReLU())
        return nn.Sequential(stem, nn.Sequential(nn.Conv2D(4, 5, 1), BatchNorm2D(5)))

    def sgd(self, net):
        return self.fw.optimizer.SGD(0.1, [p for p in net.parameters() if not p.stop_gradient])


@pytest.fixture(params=[Torch, Paddle], ids=["torch", "paddle"])
def side(request):
    return request.param()


def frozen_of(side, net, parameters=(), statistics=()):
    return importlib.import_module(f"{side.room}.freeze").Frozen(net, parameters, statistics)


def arrays(net):
    return {key: np.array(value.detach().numpy()) for key, value in net.state_dict().items()}


def step(side, net, layers):
    train = importlib.import_module(f"{side.room}.train")
    loss = importlib.import_module(f"{side.room}.losses").LOSSES["cross_entropy"]()
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 3, 6, 7)).astype(np.float32)
    batch = Batch(image, rng.integers(0, 5, (2, 4, 5)))
    train.train_step(net, loss, side.sgd(net), [batch], 0.1, frozen=layers)


def moved(side, **patterns):
    net = side.net()
    frozen, before = frozen_of(side, net, **patterns), arrays(net)
    step(side, net, frozen.layers)
    after = arrays(net)
    return {key for key in before if not np.array_equal(before[key], after[key])}, net, frozen


def kind_of(key):
    """Return what a tensor is; the biases before a BatchNorm have a gradient of rounding alone."""
    name = key.rpartition(".")[2]
    if key in ("0.0.bias", "1.0.bias"):
        return "noise"
    return "parameter" if name in ("weight", "bias") else "statistic"


def of(kind, keys, child):
    return {key for key in keys if kind_of(key) == kind and key.startswith(child)}


def test_only_what_is_not_frozen_moves(side):
    everything, net, _ = moved(side)
    every = arrays(net)
    for kind in ("parameter", "statistic"):
        assert of(kind, everything, "") == of(kind, every, "")
    found, _, _ = moved(side, parameters=["^0"])
    assert of("parameter", found, "") == of("parameter", every, "1")
    assert of("statistic", found, "") == of("statistic", every, "")
    found, net, frozen = moved(side, statistics=["^0"])
    assert of("parameter", found, "") == of("parameter", every, "")
    assert of("statistic", found, "") == of("statistic", every, "1")
    before = arrays(net)
    frozen.thaw()
    step(side, net, ())
    after = arrays(net)
    assert all(not np.array_equal(before[k], after[k]) for k in of("statistic", every, "0"))


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        ({"parameters": ["1", "stem"]}, r"freeze.parameters\[1\] is 'stem', .* no parameter"),
        ({"statistics": ["^0.0"]}, r"freeze.statistics\[0\] .* no BatchNorm with statistics"),
        ({"parameters": ["."]}, "none is trained"),
    ],
)
def test_a_pattern_that_freezes_nothing_or_everything_is_an_error(side, patterns, told):
    with pytest.raises(ConfigError, match=told):
        frozen_of(side, side.net(), **patterns)


def test_keys_are_checked():
    for given, told in (
        ("{parameters: ['(']}", "no regular expression"),
        ("{parameter: [a]}", "did you mean freeze.parameters?"),
        ("{statistics: backbone}", "freeze.statistics"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_settings(CONFIG, [f"freeze={given}"])
        assert told in str(caught.value)


def align(theirs_frozen, ours_frozen):
    torch, paddle = Torch(), Paddle()
    theirs, ours = torch.net(), paddle.net()
    fill_port(LiveReference(theirs), ours)
    frozen_of(torch, theirs, **theirs_frozen)
    frozen_of(paddle, ours, **ours_frozen)
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((2, 3, 6, 7)), rng.integers(0, 5, (2, 4, 5))) for _ in "ab"]
    losses = [
        importlib.import_module(f"{each.room}.losses").LOSSES["cross_entropy"]()
        for each in (torch, paddle)
    ]
    return align_training(
        theirs, ours, batches, *losses, lambda _: torch.sgd(theirs), lambda _: paddle.sgd(ours)
    )


def test_alignment_passes_frozen_twins_and_finds_a_port_that_freezes_otherwise():
    for patterns in ({"parameters": ["^0"]}, {"statistics": ["^0"]}):
        report = align(patterns, patterns)
        assert report.exit_code == 0, report.verdict
        report = align(patterns, {})
        assert report.exit_code == 1
        assert all(found.layer.startswith("0") for found in report.divergences), report.verdict
