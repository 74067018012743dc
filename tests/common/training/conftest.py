"""A small toy set, and runs of the loop on it."""

import pytest

from common.data.toy import write_toy_cityscapes
from common.settings.load import load_settings
from common.training import train
from common.training.feed import open_data
from tests.common.training.numpy_side import BASE, CONFIG, NumpySide


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=6, val=3, size_hw=(64, 128))
    return folder


@pytest.fixture
def go(toy, tmp_path):
    def run(folder="run", side=None, resume=None, overrides=(), reporter=None, base=BASE):
        paths = [f"data.root={toy}", f"output={tmp_path / folder}"]
        settings = load_settings(CONFIG, [*base, *paths, *overrides])
        side = side or NumpySide()
        data = open_data(settings)
        return train(settings, side, data, resume=resume, reporter=reporter), side

    return run
