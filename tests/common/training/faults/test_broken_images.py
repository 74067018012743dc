"""Broken images are named, or left out by name and counted, the same for any number of workers."""

import json
import shutil

import numpy as np
import pytest

from common.errors import DataError
from common.training import train
from common.training.faults.broken_images import FILE
from common.training.feed import open_data, training_batches
from common.words.language import recognised
from tests.common.training.faults.settings import settings_of
from tests.common.training.numpy_side import Listener, NumpySide
from tests.common.words.test_language import CHINESE


def first_batches(root, *overrides, count=6):
    settings = settings_of(root, *overrides)
    data = open_data(settings)
    groups = training_batches(data.train, settings)
    found = [batch.image for _, group in zip(range(count), groups, strict=False) for batch in group]
    groups.close()
    return np.stack(found), data.train


def test_a_broken_image_is_named(harmed):
    folder, path = harmed
    with pytest.raises(DataError, match=path.name):
        first_batches(folder)


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_beside_broken_ones_do_not_depend_on_workers(toy, harmed, workers):
    folder, path = harmed
    skipping = ("data.skip_broken=true", f"data.workers={workers}")
    found, dataset = first_batches(folder, *skipping)
    whole, _ = first_batches(toy)
    differ = [not np.array_equal(*pair) for pair in zip(found, whole, strict=True)]
    assert [str(path) in text for text in dataset.broken.values()] == [True]
    assert differ.count(True) == 2  # six batches of two are two epochs: it stands once in each
    again, _ = first_batches(folder, "data.skip_broken=true")
    assert np.array_equal(found, again)


def test_broken_images_are_told_counted_and_written(harmed, tmp_path):
    folder, path = harmed
    listener = Listener()
    settings = settings_of(folder, "data.skip_broken=true", f"output={tmp_path / 'run'}")
    outcome = train(settings, NumpySide(), open_data(settings), reporter=listener)
    assert outcome.stopped_by is None
    told = [text for text in listener.messages if path.name in text]
    assert len(told) == 1
    assert "left out of 6 training images: 1" in listener.messages[-1]
    assert CHINESE.search(recognised(listener.messages[-1]))
    named = json.loads((tmp_path / "run" / FILE).read_text())
    assert list(named) == [str(path)]
    assert "cannot be read" in named[str(path)]


def test_a_set_that_is_gone_is_no_run_of_broken_images(toy, tmp_path):
    folder = tmp_path / "gone"
    shutil.copytree(toy, folder)
    settings = settings_of(folder, "data.skip_broken=true")
    data = open_data(settings)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"6 frames in a row cannot be read.*data\.root"):
        next(training_batches(data.train, settings))


def test_a_label_that_is_no_class_is_not_left_out(toy, tmp_path):
    """It is the config that is wrong, or the set: no single frame."""
    from common.errors import UnknownLabelsError

    settings = settings_of(toy, "data.skip_broken=true")
    data = open_data(settings)

    def read(index):
        raise UnknownLabelsError("a.png: holds 77")

    data.train.source.read = read
    with pytest.raises(UnknownLabelsError):
        next(training_batches(data.train, settings))
