"""`loss.weights: from_data` in a config: numbers on both sides, in the log's settings too."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.subjects.named.class_weights import weighed
from commands.subjects.named.frameworks import both_parts
from common.data.class_weights import class_weights, count_labels
from common.data.sets.cityscapes_labels import train_id_table
from common.data.toy import write_toy_cityscapes
from common.errors import ConfigError, DataError
from common.settings.load import load_settings
from common.training import train
from tests.common.training.numpy_side import NumpySide
from tests.paths import CONFIGS


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=4, val=2, size_hw=(64, 128))
    return folder


def settings_of(toy, *overrides):
    more = (f"data.root={toy}", "data.crop_hw=[32,64]", "loss.name=cross_entropy", *overrides)
    return load_settings(CONFIGS / "unet_toy.yml", more)


def test_both_sides_get_the_numbers_of_the_labels(toy):
    settings = settings_of(toy, "loss.weights=from_data", "loss.weight_formula=enet")
    parts = both_parts(settings)
    source = parts[0].data().train.source
    labels = [np.asarray(source.read(index)[1]) for index in range(4)]
    expected = class_weights(count_labels(labels, 19, 255), "enet")
    assert [side.criterion().weights for side in parts] == [expected, expected]
    assert {side.settings.loss.weights for side in parts} == {expected}


def test_numbers_stand_in_the_settings_of_a_run(toy, tmp_path):
    settings = settings_of(
        toy, "loss.weights=from_data", f"output={tmp_path / 'run'}", "train.iterations=1"
    )
    data = both_parts(settings)[0].data()
    outcome = train(weighed(settings, data), NumpySide(), data)
    held = json.loads((outcome.folder / "settings.json").read_text())["loss"]
    assert len(held["weights"]) == 19
    assert held["weight_formula"] is None  # they are numbers now


def test_a_damaged_label_is_left_out_where_the_training_leaves_it_out(tmp_path):
    folder = tmp_path / "toy"
    write_toy_cityscapes(folder, train=3, val=1, size_hw=(32, 64))
    labels = sorted(folder.glob("gtFine/train/*/*labelIds.png"))
    whole = [np.asarray(Image.open(path)) for path in labels]
    labels[1].write_bytes(labels[1].read_bytes()[:60])
    strict = settings_of(folder, "loss.weights=from_data")
    with pytest.raises(DataError, match=labels[1].name):
        both_parts(strict)[0].criterion()
    settings = settings_of(folder, "loss.weights=from_data", "data.skip_broken=true")
    ids = train_id_table()
    counts = count_labels([ids[whole[0]], ids[whole[2]]], 19, 255)
    assert both_parts(settings)[1].criterion().weights == class_weights(counts, "median_frequency")


def test_numbers_that_are_not_as_many_as_the_classes_are_refused(toy):
    settings = settings_of(toy, "loss.weights=[1.0,2.0]")
    for side in both_parts(settings):
        with pytest.raises(ConfigError, match=r"loss\.weights has 2 numbers, and the net 19"):
            side.criterion()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("loss.weights=fromdata", "loss.weights: expected a number of at least 0 for each class"),
        ("loss.weights=[1,-2]", "expected a number of at least 0"),
        ("loss.weights=[0,0]", "expected a number of at least 0"),
        ("loss.weight_formula=enet", "goes with weights: from_data"),
        ("loss.label_smoothing=1", "less than 1"),
    ],
)
def test_what_is_no_weight_is_refused_with_its_key(toy, override, told):
    with pytest.raises(ConfigError, match=told):
        settings_of(toy, override)


def test_data_with_another_void_give_it_to_every_loss():
    """Data of the user's own say which label does not count: criteria of ours know it."""
    own = ["data.dataset=own", "data.both=my.data:build", "data.ignore_index=0"]
    for name in ("cross_entropy", "dice", "focal", "lovasz_softmax", "ohem", "unet"):
        settings = load_settings(CONFIGS / "unet_toy.yml", [*own, f"loss.name={name}"])
        assert settings.loss_options["ignore_index"] == 0
    stdc = load_settings(CONFIGS / "stdc1_toy.yml", [*own, "data.augmentation.name=none"])
    assert stdc.loss_options["ohem"]["ignore_index"] == 0
    assert stdc.loss_options["detail"]["ignore_index"] == 0
