"""A saved step that nobody trained: values first not finite in the update, and compiled nets."""

import numpy as np
import pytest

from tests.commands.own_recipe import EXAMPLE

pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.replay.sides import StepReplay
from commands.replay.verdict import judged
from commands.subjects.named.config import read_config
from commands.subjects.named.frameworks import parts_of
from common.data import Batch
from common.training.faults.saved_step import SavedStep

SGD = ("optimizer={name: sgd, momentum: 0.9}", "schedule={name: constant, base_lr: 0.1}")


@pytest.fixture
def step_of(monkeypatch):
    """Return a function that makes a step of a run in a framework."""
    monkeypatch.chdir(EXAMPLE)

    def step(framework, *overrides, lr=0.1):
        settings = read_config(EXAMPLE / "my_net.yml", (*SGD, *overrides))
        side = parts_of(settings.model_copy(deep=True), framework).side("cpu")
        rng = np.random.default_rng(0)
        image = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
        batch = Batch(image, rng.integers(0, 3, (2, 32, 32)))
        about = (framework, "", "cpu", 3, lr, 1, {"loss": float("nan")}, [["a", "b"]])
        plain = settings.model_dump(mode="json")
        return SavedStep(*about, plain, [batch], side.state())

    return step


def replayed(step):
    replay = StepReplay(step)
    own, other = replay.own_side(), replay.other_side()
    return own, other, judged(replay, own, other)


@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_what_first_is_infinite_in_the_update_is_told_so(step_of, framework):
    """A velocity near the largest float32, times a rate of 10."""
    step = step_of(framework, lr=10.0)
    step.state["velocity.head.bias"] = np.full(3, 3e38, np.float32)
    own, other, found = replayed(step)
    assert (own.first.phase, own.first.layer, own.first.where) == ("update", "head", "weight:bias")
    assert own.first.bad.infinite == 3
    assert np.isfinite(own.losses["loss"])
    assert other.first is None  # weights and criterion go over, an optimizer's slots do not
    assert (found.kind, found.exit_code) == ("update", 1)
    assert "stands in the update, layer head" in found.words
    assert "look at the rate and at what the optimizer holds" in found.words


def test_a_compiled_net_runs_as_it_is_written(step_of, monkeypatch):
    step = step_of("paddle")
    step.settings["train"]["compile"] = True
    own, other, found = replayed(step)
    assert own.first is None
    assert (found.kind, found.exit_code) == ("gone", 2)
    assert "train.compile=false" in found.words
    step.batches[0].image[:] = 3e38
    own, other, found = replayed(step)
    assert own.first.place == other.first.place == ("forward", "net", "stem")
    assert "net_paddle.py" in own.first.source
    assert found.kind == "both"
