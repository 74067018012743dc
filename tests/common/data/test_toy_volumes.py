"""Toy volumes: the same for a seed, of a layout that is read, never over anything else."""

import json

import numpy as np
import pytest

from common.data.toy.volumes import MARKER, render_cells, write_toy_volumes
from common.errors import ConfigError, DataError
from common.volumes.set import VolumeSet
from tests import nursery

SHAPE = (16, 24, 20)
CLASSES = {"class_names": ("rest", "nucleus", "membrane")}


def test_cells_have_nuclei_inside_and_membranes_between():
    cells = render_cells(0, "train", 0, (24, 32, 32))
    assert [a.dtype for a in (cells.raw, cells.cells, cells.label)] == [
        *(np.uint8, np.uint16, np.uint8)
    ]
    shares = np.bincount(cells.label.ravel()) / cells.label.size
    assert shares[1] > 0.01
    assert 0.1 < shares[2] < 0.4
    assert len(np.unique(cells.cells)) > 10
    assert (cells.cells[cells.label > 0] > 0).all()  # none outside the tissue
    levels = [np.median(cells.raw[cells.label == number]) for number in range(3)]
    assert levels[0] + 30 < levels[1] < levels[2]
    np.testing.assert_array_equal(cells.boundary, cells.label == 2)


def test_a_volume_depends_on_seed_split_and_index():
    first = render_cells(0, "train", 0, SHAPE)
    np.testing.assert_array_equal(first.raw, render_cells(0, "train", 0, SHAPE).raw)
    for other in ((1, "train", 0), (0, "val", 0), (0, "train", 1)):
        assert not np.array_equal(first.raw, render_cells(*other, SHAPE).raw)


@pytest.mark.parametrize("format", ["h5", "nii.gz", "npz"])
def test_what_is_written_is_read(tmp_path, format):
    pytest.importorskip({"h5": "h5py", "nii.gz": "nibabel"}.get(format, "numpy"))
    seen = []
    about = write_toy_volumes(
        tmp_path / "toy", format=format, train=1, val=1, shape=SHAPE,
        progress=lambda *done: seen.append(done),
    )  # fmt: skip
    assert json.loads((tmp_path / "toy" / MARKER).read_text()) == about
    assert seen == [(1, 2), (2, 2)]
    folder = {"label_folder": "labels"} if format == "nii.gz" else {}
    raw, label = VolumeSet(tmp_path / "toy", "val", **CLASSES, **folder).read(0)
    cells = render_cells(0, "val", 0, SHAPE)
    np.testing.assert_array_equal(raw[0], cells.raw)
    np.testing.assert_array_equal(label, cells.label)


def test_nothing_else_is_replaced(tmp_path):
    made = {"format": "npz", "train": 1, "val": 1, "shape": (16, 16, 16)}
    write_toy_volumes(tmp_path / "toy", **made)
    with pytest.raises(DataError, match="holds a toy set already"):
        write_toy_volumes(tmp_path / "toy", **made)
    write_toy_volumes(tmp_path / "toy", **made, force=True)
    (tmp_path / "toy" / "mine.txt").touch()
    with pytest.raises(DataError, match="never replaced"):
        write_toy_volumes(tmp_path / "toy", **made, force=True)
    for wrong in ({"train": 0}, {"shape": (15, 16, 16)}, {"format": "tif"}, {"seed": -1}):
        with pytest.raises(ConfigError):
            write_toy_volumes(tmp_path / "other", **{**made, **wrong})


def test_the_command(tmp_path):
    given = ("--format", "npz", "--train", 1, "--val", 1, "--shape", "16x16x16")
    done = nursery.run("make_toy_volumes", tmp_path / "toy", *given)
    assert done.returncode == 0, done.stderr
    assert "1 train and 1 val volumes of 16x16x16" in done.stdout
    wrong = nursery.run("make_toy_volumes", tmp_path / "toy", *given, "--shape", "16x16")
    assert wrong.returncode == 2
    assert "expected DxHxW such as 32x64x64" in wrong.stderr
