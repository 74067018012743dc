"""The toy set, whole and with a frame that is cut."""

import shutil

import pytest

from common.data.toy import write_toy_cityscapes


@pytest.fixture(scope="package")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=6, val=2, size_hw=(64, 128))
    return folder


@pytest.fixture(scope="package")
def harmed(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "harmed"
    shutil.copytree(toy, folder)
    path = sorted((folder / "leftImg8bit" / "train").rglob("*.png"))[1]
    path.write_bytes(path.read_bytes()[:-40])
    return folder, path
