"""Predictions as files: they stay in their folder, and are written over nothing that is read."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from commands.evaluate.command import _check_picture
from commands.evaluate.ids import IdFiles, names_of
from common.data.photo_set import PhotoFrame
from common.errors import UserError


def data_of(*frames):
    return SimpleNamespace(source=SimpleNamespace(frames=frames), transforms=None)


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("name", ["../../elsewhere/a", "/elsewhere/a", "x/../../elsewhere/a"])
def test_a_list_leads_nowhere_out_of_the_folder(name, tmp_path):
    dataset = data_of(PhotoFrame(name, Path("a.png"), None))
    files = IdFiles(tmp_path / "deep" / "er" / "ids", dataset)
    files.add(np.zeros((1, 2, 2), np.int64))
    (written,) = tmp_path.rglob("*.png")
    assert written.is_relative_to(files.folder)
    assert names_of(dataset)[0].endswith("elsewhere/a")


def test_nothing_that_is_read_is_written_over(tmp_path):
    label = photo(tmp_path / "labels" / "a.png")
    (tmp_path / "linked").symlink_to("labels")
    dataset = data_of(PhotoFrame("a", photo(tmp_path / "photos" / "a.png"), label))
    for folder in ("photos", "labels", "linked"):
        with pytest.raises(UserError, match="--force"):
            IdFiles(tmp_path / folder, dataset)
        with pytest.raises(UserError, match="which is read"):
            IdFiles(tmp_path / folder, dataset, force=True)
    asked = {"config": Path("x.yml"), "weights": "w.pth"}
    for name, force, said in (
        ("labels/a.png", True, "which is read"),
        ("other.png", False, "exists already"),
    ):
        photo(tmp_path / "other.png")
        options = Namespace(**asked, confusion=tmp_path / name, force=force)
        with pytest.raises(UserError, match=said):
            _check_picture(options, dataset)
