"""Classes of one's own data: told in the config or by a file, and the net has as many."""

import pytest

from common.errors import ConfigError, DataError
from common.settings.load import load_settings
from common.training.feed import open_data
from tests.common.data import layouts
from tests.common.data.layouts import NAMES
from tests.paths import CONFIGS


def config(folder, data, base="stdc1_toy", more=""):
    path = folder / "mine.yml"
    path.write_text(f"_base_: {CONFIGS / base}.yml\nname: mine\n{more}data:\n{data}")
    return path


FIVE = "  dataset: list\n  root: {root}\n"


def test_the_net_has_as_many_classes_as_the_data(tmp_path):
    root = layouts.image_list(tmp_path / "set")
    data = FIVE.format(root=root)
    told = {
        "names": "  class_names: [background, leaf, stem, fruit, soil]\n",
        "file": "  class_file: labels.txt\n",
        "number": "  num_classes: 5\n",
    }
    for way, line in told.items():
        settings = load_settings(config(tmp_path, data + line))
        assert settings.model.num_classes == settings.model.overrides["num_classes"] == 5, way
    opened = open_data(load_settings(config(tmp_path, data + told["names"])))
    assert (opened.class_names, len(opened.train), len(opened.val)) == (NAMES, 6, 2)
    image, label = opened.train.sample(0, 0)
    assert (image.shape, label.shape) == ((3, 128, 256), (128, 256))
    assert load_settings(CONFIGS / "unet.yml").model.num_classes == 2
    assert load_settings(CONFIGS / "unet.yml", ["data.dataset=ade20k"]).model.num_classes == 150


def test_another_number_is_an_error_that_names_both(tmp_path):
    root = layouts.image_list(tmp_path / "set")
    path = config(tmp_path, FIVE.format(root=root) + "  class_file: labels.txt\n")
    settings = load_settings(path, ["model.num_classes=19"])
    words = r"model\.num_classes is 19, but list has 5 classes \(background, leaf, stem"
    with pytest.raises(ConfigError, match=words):
        open_data(settings)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "none of them is set; say which classes there are by one of class_names"),
        ("  num_classes: 5\n  class_file: a.txt\n", "class_file and num_classes are set"),
        ("  class_file: labels.txt\n  colors: [[0, 0, 0]]\n", "of a class_file the colours stand"),
        ("  class_names: [a, b]\n  colors: [[0, 0, 0]]\n", "2 names and 1 colours"),
        ("  class_names: [a, b]\n  colors: [[0, 0, 300], [1, 1, 1]]\n", "colors.*300"),
        ("  class_names: [a, a]\n", "'a' stands there twice"),
        ("  num_classes: 300\n", "300 classes; a set has 2 to 255"),
        ("  num_classes: 5\n  ignore_index: 3\n", "which is the class 'class 3'"),
        ("  num_classes: 2\n  label_map: {0: 0, 1: 7}\n", "1 -> 7"),
        ("  num_classes: 2\n  label_map: {a: 0}\n", "label_map"),
    ],
)
def test_classes_that_make_no_sense_are_refused_at_once(tmp_path, lines, words):
    with pytest.raises(ConfigError, match=words):
        load_settings(config(tmp_path, FIVE.format(root=tmp_path) + lines))


def test_a_class_file_that_is_absent_is_named_with_its_place(tmp_path):
    path = config(tmp_path, FIVE.format(root=tmp_path) + "  class_file: names.txt\n")
    with pytest.raises(DataError, match=r"data\.class_file: .*names\.txt is not there.*data\.root"):
        load_settings(path)


def test_a_map_of_labels_has_numbers_as_keys(tmp_path):
    lines = "  num_classes: 2\n  label_map: {0: 255, 300: 1, 7: 0}\n"
    data = load_settings(config(tmp_path, FIVE.format(root=tmp_path) + lines)).data
    assert data.label_map == {0: 255, 300: 1, 7: 0}
    assert "0, 7, 300 and 255" in data.labelling().expected


@pytest.mark.parametrize("base", ["unet", "pspnet50", "deeplabv3_r50", "fcn_tv_r50", "stdc1"])
@pytest.mark.parametrize("size", [(40, 30), (7, 300), (1, 1)])
def test_every_recipe_takes_photos_of_any_size(tmp_path, base, size):
    root = layouts.image_list(tmp_path / "set", size=size)
    lines = "  num_classes: 5\n  crop_hw: [64, 96]\n  scale: 1.0\n  batch_size: 2\n"
    lines += "  train_split: train\n  workers: 0\n"
    path = config(tmp_path, FIVE.format(root=root) + lines, base)
    larger = {  # of one pixel half is nothing
        "stdc1": ["data.augmentation.scales=[1.0, 1.5]"],
        "deeplabv3_r50": ["data.augmentation.scales=[1.0, 2.0]"],
        "pspnet50": ["data.augmentation.scale_range=[1.0, 2.0]"],
    }
    data = open_data(load_settings(path, larger.get(base, [])))
    image, label = data.train.sample(0, 1)
    assert (image.shape, label.shape) == ((3, 64, 96), (64, 96))
    assert set(label.ravel().tolist()) - {255} <= set(range(5))
    image, label = data.val.sample(0, 1)
    assert image.shape[1:] == label.shape


def test_a_photo_of_which_a_recipe_leaves_nothing_is_named(tmp_path):
    root = layouts.image_list(tmp_path / "set", size=(1, 1))
    path = config(tmp_path, FIVE.format(root=root) + "  num_classes: 5\n")
    data = open_data(load_settings(path, ["data.augmentation.scales=[0.5]"]))
    with pytest.raises(DataError, match=r"photo003\.png: resize: 1 x 1 would become 0 x 0"):
        data.train.sample(0, 3)


def test_a_run_is_not_resumed_on_other_classes(tmp_path):
    root = layouts.image_list(tmp_path / "set")
    path = config(tmp_path, FIVE.format(root=root) + "  class_file: labels.txt\n")
    before = open_data(load_settings(path)).fingerprint
    assert open_data(load_settings(path)).fingerprint == before
    layouts.write(root / "labels.txt", *NAMES[::-1])
    assert open_data(load_settings(path)).fingerprint != before
