import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from common.data import Cityscapes
from common.data.sets.cityscapes_labels import LABEL_OF_NAME
from common.data.toy import MARKER, render, write_toy_cityscapes
from common.data.toy.geometry import clip, hull
from common.errors import ConfigError, DataError
from tests.paths import ROOT

SIZE = (64, 128)
TRAIN_LIST = "gtFine/cityscapes_panoptic_train.json"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "set"
    write_toy_cityscapes(folder, train=5, val=2, size_hw=SIZE, seed=1)
    return folder


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MARKER
    }


def test_every_file_of_the_real_layout_is_there(toy):
    files = list(digests(toy))
    assert "leftImg8bit/train/toyburg/toyburg_000000_000019_leftImg8bit.png" in files
    for kind in ("labelIds.png", "instanceIds.png", "color.png", "polygons.json"):
        assert f"gtFine/val/toystadt/toystadt_000001_000019_gtFine_{kind}" in files
    assert "gtFine/cityscapes_panoptic_val/toystadt_000001_000019_gtFine_panoptic.png" in files
    assert len(files) == 7 * 6 + 2


def test_our_reader_takes_it_for_cityscapes(toy):
    train, val = Cityscapes(toy, "train"), Cityscapes(toy, "val")
    assert (len(train), len(val)) == (5, 2)
    image, label = train.read(4)
    assert image.size == label.size == (128, 64)


def test_files_have_the_real_sets_modes(toy):
    stem = toy / "gtFine/train/toyburg/toyburg_000000_000019_gtFine"
    modes = [Image.open(f"{stem}_{kind}.png").mode for kind in ("labelIds", "instanceIds", "color")]
    assert modes == ["L", "I;16", "RGBA"]


def test_same_seed_same_bytes_and_frames_do_not_depend_on_their_number(toy, tmp_path):
    again = tmp_path / "again"
    write_toy_cityscapes(again, train=3, val=2, size_hw=SIZE, seed=1)
    first, second = digests(toy), digests(again)
    del second[TRAIN_LIST]
    assert second.items() <= first.items()
    few, many = (json.loads((folder / TRAIN_LIST).read_text()) for folder in (again, toy))
    assert all(row in many["annotations"] for row in few["annotations"])
    other = render(2, "train", 0, SIZE)
    assert (other.image != render(1, "train", 0, SIZE).image).any()
    assert (render(1, "val", 0, SIZE).image != render(1, "train", 0, SIZE).image).any()


def test_polygons_redrawn_are_the_masks(toy):
    """What cityscapesScripts would make of the JSON is what lies beside it."""
    for path in toy.rglob("*_polygons.json"):
        about = json.loads(path.read_text())
        size = (about["imgWidth"], about["imgHeight"])
        labels, instances, seen = Image.new("L", size), Image.new("I", size), {}
        for item in about["objects"]:
            row, polygon = LABEL_OF_NAME[item["label"]], [tuple(p) for p in item["polygon"]]
            number = row.id
            if row.has_instances:
                number = row.id * 1000 + seen.setdefault(row.name, 0)
                seen[row.name] += 1
            if row.id >= 0:
                ImageDraw.Draw(labels).polygon(polygon, fill=row.id)
                ImageDraw.Draw(instances).polygon(polygon, fill=number)
        stem = str(path).removesuffix("polygons.json")
        stored = np.asarray(Image.open(f"{stem}instanceIds.png")).astype(np.int64)
        assert (np.asarray(labels) == np.asarray(Image.open(f"{stem}labelIds.png"))).all()
        assert (np.asarray(instances) == stored).all()
        assert (np.where(stored > 999, stored // 1000, stored) == np.asarray(labels)).all()
        colors = np.asarray(Image.open(f"{stem}color.png"))
        of_id = {row.id: row.color for row in LABEL_OF_NAME.values()}
        assert all(
            (colors[np.asarray(labels) == i, :3] == of_id[i]).all() for i in np.unique(labels)
        )


def test_all_classes_occur_and_so_does_void():
    counts = np.zeros(34, np.int64)
    plates = False
    for index in range(20):
        frame = render(0, "train", index, SIZE)
        counts += np.bincount(frame.label_ids.ravel(), minlength=34)
        plates |= any(item["label"] == "license plate" for item in frame.polygons["objects"])
    trained = [row.id for row in LABEL_OF_NAME.values() if 0 <= row.train_id < 255]
    share = counts / counts.sum()
    assert share[trained].min() > 1e-3
    assert {1, 3, 4, 10} <= set(np.flatnonzero(counts).tolist())
    assert counts[0] == 0  # nothing is left unlabelled
    assert plates


def test_polygons_stay_inside_the_frame(toy):
    for path in toy.rglob("*_polygons.json"):
        points = [p for item in json.loads(path.read_text())["objects"] for p in item["polygon"]]
        assert np.min(points) >= 0
        assert (np.max(points, axis=0) <= (127, 63)).all()


def test_clip_and_hull():
    assert clip([(-5, -5), (-1, -5), (-1, -1)], 10, 10) == []
    assert set(clip([(-5, 2), (5, 2), (5, 8), (-5, 8)], 10, 10)) == {(0, 2), (5, 2), (5, 8), (0, 8)}
    square = [(0, 0), (4, 0), (4, 4), (0, 4)]
    assert set(hull([*square, (2, 2), (0, 2)])) == set(square)


def test_an_existing_folder_is_safe(tmp_path):
    def write(**more):
        return write_toy_cityscapes(tmp_path / "set", train=1, val=1, size_hw=(32, 64), **more)

    (tmp_path / "set").mkdir()
    write()  # empty: taken
    before = digests(tmp_path)
    with pytest.raises(DataError, match=r"toy set already.*--force"):
        write(seed=1)
    assert digests(tmp_path) == before
    write(seed=1, force=True)
    assert digests(tmp_path) != before
    assert json.loads((tmp_path / "set" / MARKER).read_text())["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["set"]  # nothing left beside it


@pytest.mark.parametrize("marker", [None, "{}", "not json", '{"made_by": "make_toy_cityscapes"}'])
def test_force_never_replaces_anything_else(tmp_path, marker):
    (tmp_path / "thesis.tex").write_text("years of work")
    if marker is not None:
        (tmp_path / MARKER).write_text(marker)
    with pytest.raises(DataError, match="something else than a toy set"):
        write_toy_cityscapes(tmp_path, train=1, val=1, size_hw=(32, 64), force=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_in_the_place_and_senseless_numbers(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is no folder"):
        write_toy_cityscapes(tmp_path / "file", force=True)
    with pytest.raises(ConfigError, match="train 0, val 1, size 8x64"):
        write_toy_cityscapes(tmp_path / "x", train=0, val=1, size_hw=(64, 8))


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_toy_cityscapes(tmp_path / "set", train=2, val=1, size_hw=(32, 64), progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path):
    call = [sys.executable, str(ROOT / "tools/make_toy_cityscapes.py"), str(tmp_path / "set")]
    call += ["--train", "1", "--val", "1", "--size", "64x32"]
    first = subprocess.run([*call, "--json"], capture_output=True, text=True, check=False)
    assert (first.returncode, first.stderr) == (0, "")
    about = json.loads(first.stdout)
    assert (about["width"], about["height"], about["train"]) == (64, 32, 1)
    second = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.startswith("error: toy Cityscapes:")
    assert "Traceback" not in second.stderr
