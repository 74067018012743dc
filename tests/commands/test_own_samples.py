"""Data of the user's own: their void, augmentation that takes other items, labels alone."""

import numpy as np
import pytest
from PIL import Image

from commands.subjects.named.config import Own
from commands.subjects.named.own.samples import OwnAugment, open_samples
from common.errors import DataError
from common.settings.load import load_settings
from tests.paths import CONFIGS

LOWEST = 1  # of the class of an item


class Items:
    """Items of one class each; 0 does not count."""

    def __init__(self, split, root=None, value=None):
        self.value = value

    def __len__(self):
        return 3

    def __getitem__(self, index):
        label = np.full((20, 24), index + LOWEST if self.value is None else self.value, np.int64)
        return np.full((20, 24, 3), 40 * (index + 1), np.uint8), label


def opened(*overrides, **arguments):
    own = Own("data.both", "tests.commands.test_own_samples:Items", arguments)
    more = ["data.dataset=own", f"data.both={own.spec}", "data.crop_hw=[32,32]"]
    settings = load_settings(CONFIGS / "unet_toy.yml", [*more, "data.scale=1", *overrides])
    return open_samples(own, settings, None).train


def test_what_padding_leaves_is_the_users_void():
    image, label = opened("data.ignore_index=0").sample(0, 1)
    assert (label[:20, :24] == 2).all()
    assert set(np.unique(label)) == {0, 2}
    assert set(np.unique(opened().sample(0, 1)[1])) == {2, 255}
    assert image.shape == (3, 32, 32)


def test_a_label_that_stands_for_padding_is_refused():
    with pytest.raises(DataError, match=r"holds 255, and .*ignore_index is 0"):
        opened("data.ignore_index=0", value=255).sample(0, 0)
    assert (opened(value=255).sample(0, 0)[1] == 255).all()


def test_a_mosaic_takes_other_items():
    mosaic = ["data.augmentation.name=custom", "data.augmentation.mosaic=1"]
    data = opened(*mosaic, "data.crop_hw=[20,24]")
    classes = {tuple(np.unique(data.sample(epoch, 0)[1])) for epoch in range(6)}
    assert len(classes) > 1
    assert set().union(*classes) <= {1, 2, 3}
    again = opened(*mosaic, "data.crop_hw=[20,24]")
    assert np.array_equal(again.sample(3, 0)[0], data.sample(3, 0)[0])


def test_a_label_can_be_read_alone():
    assert (opened().label(2) == 3).all()


class Given:
    """Stands for a callable that a config names."""

    def __init__(self, function):
        self.found = function

    def __call__(self, *given, **more):
        return self.found(*given, **more)

    def __str__(self):
        return "data.augmentation.both mine:flip"


def test_an_augmentation_gets_ids_of_segments_as_they_are():
    image = np.zeros((2, 3, 3), np.uint8)
    ids = np.array([[0, 7, 26001], [7, 7, 1 << 23]], np.int32)
    flip = OwnAugment(Given(lambda image, label: (image[:, ::-1], label[:, ::-1].astype("int64"))))
    made, moved = flip(Image.fromarray(image), Image.fromarray(ids), np.random.default_rng(0))
    assert made.shape == image.shape
    assert moved.dtype == np.int32
    assert moved.tolist() == ids[:, ::-1].tolist()
    wrong = OwnAugment(Given(lambda image, label: (image, label - 1)))
    with pytest.raises(DataError, match=r"holds -1 to 8388607; ids of segments lie in 0..16777215"):
        wrong(image, ids, np.random.default_rng(0))
    classes = np.full((2, 3), 4, np.uint8)
    assert flip(image, classes, np.random.default_rng(0))[1].dtype == np.uint8
