"""A step whose loss or gradients are not finite is saved, to be run again."""

import json
import math

import numpy as np
import pytest
from safetensors.numpy import save

from common.errors import UnreadableError
from common.files import sha256_of
from common.training import Diverged, train
from common.training.faults.not_finite import NotFinite
from common.training.faults.saved_step import ABOUT, BATCHES, FORMAT, STATE, read_step
from common.training.feed import open_data, step_images, training_batches
from tests.common.training.faults.settings import settings_of
from tests.common.training.numpy_side import NumpySide


class NotFiniteSide(NumpySide):
    """Raises in its third step what `train_step` does where a gradient is not finite."""

    def step(self, batches, lr):
        if len(self.rates) == 2:
            raise NotFinite({"loss": 1.5})
        return super().step(batches, lr)


@pytest.fixture
def diverged(toy, tmp_path):
    """A run that ended in its third step: (folder of the step, the error, its side)."""
    settings = settings_of(toy, f"output={tmp_path / 'run'}")
    side = NotFiniteSide()
    with pytest.raises(Diverged) as caught:
        train(settings, side, open_data(settings))
    return tmp_path / "run" / "nan" / "iteration_00000003", caught.value, side, settings


def test_a_step_that_is_not_finite_is_saved(diverged, toy):
    folder, error, side, settings = diverged
    assert error.exit_code == 1
    step = read_step(folder)
    assert "a gradient is not finite in iteration 3 (loss 1.5" in str(error)
    assert f"replay_batch.py {folder}" in str(error)
    assert (step.framework, step.iteration, step.losses) == ("numpy", 2, {"loss": 1.5})
    assert step.lr == settings.learning_rate(2)
    assert np.array_equal(step.state["weights"], side.weights)
    groups = training_batches(open_data(settings).train, settings, 2)
    for saved, read in zip(step.batches, next(groups), strict=True):
        assert np.array_equal(saved.image, read.image)
        assert np.array_equal(saved.label, read.label)
    assert step.settings == settings.model_dump(mode="json")
    (names,) = step.images
    assert all(name.endswith("_leftImg8bit.png") and name in str(error) for name in names)


def test_the_images_of_a_step_are_those_that_stood_for_broken_ones(harmed):
    folder, path = harmed
    settings = settings_of(folder, "data.skip_broken=true", "data.cards=2", "data.iter_size=1")
    data = open_data(settings)
    for step, group in zip(range(3), training_batches(data.train, settings), strict=False):
        names = step_images(data.train, settings, step)
        assert [len(part) for part in names] == [len(batch.image) for batch in group] == [2, 2]
        assert str(path) not in [name for part in names for name in part]


@pytest.mark.parametrize("harm", ["cut", "absent", "format", "fewer"])
def test_a_damaged_step_is_refused(diverged, harm):
    folder = diverged[0]
    if harm == "absent":
        (folder / ABOUT).unlink()
    elif harm == "cut":
        (folder / BATCHES).write_bytes((folder / BATCHES).read_bytes()[:-1])
    elif harm == "format":
        text = (folder / ABOUT).read_text()
        (folder / ABOUT).write_text(text.replace(f'"format": {FORMAT}', '"format": 9'))
    else:
        about, state = json.loads((folder / ABOUT).read_text()), read_step(folder).state
        (folder / STATE).write_bytes(save({"weights": state["weights"]}))
        about["sha256"][STATE] = sha256_of(folder / STATE)
        (folder / ABOUT).write_text(json.dumps(about))
    with pytest.raises(UnreadableError, match=str(folder)):
        read_step(folder)


def test_nan_terms_travel(toy, tmp_path):
    settings = settings_of(toy, f"output={tmp_path / 'run'}")
    with pytest.raises(Diverged, match="the loss is not finite in iteration 4"):
        train(settings, NumpySide(nan_in_step=3), open_data(settings))
    losses = read_step(tmp_path / "run" / "nan" / "iteration_00000004").losses
    assert math.isnan(losses["loss"])
    assert losses["part"] == 1.0


@pytest.mark.parametrize("side", ["torch", "paddle"])
def test_no_update_is_made_of_what_is_not_finite(side, toy):
    """Loss NaN; or finite, with a gradient that is not: the weights stay."""
    framework = pytest.importorskip(side)
    from tests.nets.training.stubs import SIDES

    made, base = SIDES[side](), framework.nn.Module if side == "torch" else framework.nn.Layer
    train_step = __import__(f"{made.room.__name__}.train", fromlist=["train"]).train_step

    class Net(base):
        def forward(self, image):
            return (image.mean() * 0 + self.weight).sum()

    class Criterion(base):
        def forward(self, outputs, label):
            return framework.sqrt(outputs * 0) if bad == "gradient" else framework.log(outputs - 9)

    batch = next(training_batches(open_data(settings_of(toy)).train, settings_of(toy)))
    for bad in ("gradient", "loss"):
        net = Net()
        made.parameter(net, "weight", np.ones(1, np.float32))
        optimizer = framework.optim.SGD(net.parameters(), 0.1) if side == "torch" else None
        if optimizer is None:
            optimizer = framework.optimizer.SGD(0.1, net.parameters())
        with pytest.raises(NotFinite) as caught:
            train_step(net, Criterion(), optimizer, batch, 0.1)
        assert caught.value.what == ("a gradient" if bad == "gradient" else "the loss")
        assert made.array(net.weight) == 1
