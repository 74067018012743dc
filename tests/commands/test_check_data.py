"""check_data: each kind of damage is found, counted and named; a good set is good."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from commands.check_data.flow import check, labels_and_outlines, open_splits, read_all
from commands.check_data.pictures import colors_seen, overlay
from commands.subjects.named.config import read_config
from common.errors import DataError
from common.words import language
from tests.common.data import layouts
from tests.common.data.layouts import ORIENTATION, TURNED, photo_of, values
from tests.common.panoptic import layouts as panoptic_layouts
from tests.common.panoptic import scenes
from tests.nursery import run
from tests.paths import CONFIGS, ROOT


@pytest.fixture
def root(tmp_path):
    return layouts.image_list(tmp_path / "set")


def config(root, *lines, dataset="list"):
    path = root.parent / "mine.yml"
    data = [f"  dataset: {dataset}", f"  root: {root}", "  class_file: labels.txt", *lines]
    crop = ["  crop_hw: [32, 48]", "  batch_size: 2"]
    text = "\n".join([f"_base_: {CONFIGS}/stdc1_toy.yml", "name: mine", "data:", *data, *crop])
    path.write_text(text + "\n")
    return path


def checked(root, capsys, *lines, workers=0, dataset="list", **more):
    """Return (exit code, JSON) of the command, in this process."""
    options = {"overrides": [], "output": root.parent / "out", "json": True, "quiet": False}
    path = config(root, *lines, dataset=dataset)
    given = argparse.Namespace(config=path, workers=workers, **{**options, **more})
    code = check(given)
    text = capsys.readouterr().out
    return code, json.loads(text) if given.json else text


def test_a_good_set_is_good(root, capsys):
    code, told = checked(root, capsys)
    assert (code, told["good"], told["findings"], told["values"]) == (0, True, {}, {})
    assert {split: row["frames"] for split, row in told["splits"].items()} == {"train": 6, "val": 2}
    expected = np.bincount(np.concatenate([values(k).ravel() for k in range(6)]), minlength=5)
    assert [row["pixels"]["train"] for row in told["classes"]] == expected.tolist()
    shown = [sum(k in values(index) for index in (6, 7)) for k in range(5)]
    assert [row["images"]["val"] for row in told["classes"]] == shown
    for path in told["pictures"]:
        with Image.open(path) as picture:
            assert min(picture.size) > 200
    assert len(told["pictures"]) == 2


def damaged(root):
    """Damage one file of each kind."""
    content = (root / "images/photo000.png").read_bytes()
    (root / "images/photo000.png").write_bytes(content[: len(content) // 2])
    layouts.save(values(1, (8, 9)), root / "labels/photo001.png")
    label = values(2)
    label[0, :7], label[1, :3] = 5, 77
    layouts.save(label, root / "labels/photo002.png")
    layouts.save(np.full_like(label, 255), root / "labels/photo003.png")
    (root / "labels/photo004.png").write_bytes(b"")
    (root / "labels/photo007.png").unlink()
    (root / "images/photo006.png").write_bytes((root / "images/photo005.png").read_bytes())


EXPECTED = {
    "unreadable": ["photo000"],
    "mis-sized": ["photo001"],
    "mislabelled": ["photo002"],
    "empty": ["photo003", "photo004"],
    "unpaired": ["photo007"],
    "in several splits": ["photo006"],
}


@pytest.mark.parametrize("workers", [0, 1])
def test_every_kind_of_damage_is_counted_and_named(root, capsys, workers):
    damaged(root)
    code, told = checked(root, capsys, workers=workers)
    found = {kind: [row["file"] for row in f["first"]] for kind, f in told["findings"].items()}
    names = {k: [file.rpartition("/")[2][:8] for file in files] for k, files in found.items()}
    assert (code, told["good"], names) == (1, False, EXPECTED)
    counts = {value: (row["pixels"], row["files"]) for value, row in told["values"].items()}
    assert counts == {"5": (7, 1), "77": (3, 1)}
    said = told["findings"]["mis-sized"]["first"][0]["said"]
    assert "photo001.png is 40 x 30" in said
    assert "is 8 x 9" in said
    assert "0 bytes" in told["findings"]["empty"]["first"][1]["said"]


def test_what_people_read_names_the_first(root, capsys, monkeypatch):
    monkeypatch.setattr(language, "_chosen", [0])
    damaged(root)
    _, text = checked(root, capsys, json=False)
    for words in (
        "mislabelled: 1 (labels with values that are no class)",
        "value 5: 7 pixels in 1 files: ",
        "empty: 2 (files of 0 bytes, labels without any class)",
        "7 frames read, 7 findings",
    ):
        assert words in text
    monkeypatch.setattr(language, "_chosen", [1])
    _, text = checked(root, capsys, json=False)
    assert "标签错误：1（标签中有不属于任何类别的值）" in text
    _, text = checked(root, capsys, json=False, quiet=True)
    assert text.strip().endswith("读取了 7 帧，发现 7 处问题")


def test_folders_without_partners_are_counted_once(tmp_path, capsys):
    root = layouts.folder_pair(tmp_path / "set")
    layouts.write(root / "labels.txt", *layouts.NAMES)
    (root / "labels/003.png").unlink()
    (root / "images/004.jpg").unlink()
    code, told = checked(root, capsys, "  val_share: 0.25", dataset="folders")
    assert code == 1
    assert told["findings"]["unpaired"]["count"] == 2
    assert sum(row["frames"] for row in told["splits"].values()) == 8


def test_photos_that_are_not_plain_are_counted(root, capsys):
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    layouts.save(photo_of(values(0)), root / "images/photo000.png", exif=exif)
    layouts.save(np.ascontiguousarray(np.rot90(values(0), -1)), root / "labels/photo000.png")
    layouts.save(values(1) * 40, root / "images/photo001.png")
    code, told = checked(root, capsys)
    assert (code, told["photos"]) == (0, {"turned by EXIF": 1, "grey": 1})
    assert told["splits"]["train"]["sizes"] == [[30, 40], [40, 30]]


def test_a_list_for_tests_is_read_too(root, capsys):
    layouts.write(root / "test.txt", "images/photo000.png")
    (root / "images/photo000.png").write_bytes(b"nothing")
    code, told = checked(root, capsys, "  test_path: test.txt")
    assert code == 1
    assert told["splits"]["test"]["frames"] == 1
    assert told["findings"]["unreadable"]["count"] == 2


def test_photos_that_an_augmentation_refuses_are_findings(tmp_path, capsys):
    root = layouts.image_list(tmp_path / "set", size=(1, 1))
    code, told = checked(root, capsys, "  augmentation: {scales: [0.5]}")
    assert code == 1
    assert told["findings"]["not augmented"]["count"] == 6
    assert [path.rpartition("/")[2] for path in told["pictures"]] == ["classes.png"]


def test_what_cannot_be_checked(root, capsys):
    with pytest.raises(DataError, match="no list nowhere"):
        checked(root, capsys, "  val_path: nowhere.txt")


def test_the_overlay_lays_colours_on_the_picture():
    picture = np.full((1, 3, 3), 0.5)
    colors = np.zeros((256, 3), np.uint8)
    colors[1] = (255, 0, 0)
    laid = overlay(picture, np.array([[0, 1, 255]]), colors)[0]
    np.testing.assert_allclose(laid, [[0.2] * 3, [0.8, 0.2, 0.2], [0.68] * 3])


def test_a_legend_has_the_colours_that_the_overlays_show():
    colors = np.zeros((256, 3))
    colors[:2] = [[255, 0, 0], [0, 0, 255]]
    label = np.array([[0, 0, 1, 255]])
    white, black = np.ones((1, 4, 3)), np.zeros((1, 4, 3))
    laid = [(overlay(picture, label, colors), label) for picture in (white, black)]
    found = colors_seen(laid)
    assert list(found) == [0, 1]
    assert np.allclose(found[0], [0.8, 0.2, 0.2])
    assert np.allclose(found[1], [0.2, 0.2, 0.8])


def test_the_command_itself(root, tmp_path):
    done = run("check_data", config(root), "--output", tmp_path / "out", "--lang", "en", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 frames read, nothing is wrong with them" in done.stdout
    damaged(root)
    done = run("check_data", config(root), "--quiet", "-o", tmp_path / "out", cwd=ROOT)
    assert done.returncode == 1
    done = run("check_data", config(root), "data.root=/nowhere", cwd=ROOT)
    assert done.returncode == 2
    assert "labels.txt is not there" in done.stderr


def test_names_that_no_font_has_are_numbers(monkeypatch):
    from matplotlib import font_manager

    from common.words.drawn import written

    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    assert written(("Straße", "道路"))[0] == ["Straße", "1"]


def panoptic_config(root, dataset):
    path = root.parent / "panoptic.yml"
    data = [
        *(f"  dataset: {dataset}", f"  root: {root}", "  crop_hw: [16, 24]", "  batch_size: 2"),
        "  augmentation: {name: panoptic_deeplab}",
    ]
    path.write_text("\n".join([f"_base_: {CONFIGS}/stdc1_toy.yml", "data:", *data]) + "\n")
    return path


def test_a_good_panoptic_set_is_good_and_its_segments_are_outlined(tmp_path, capsys):
    root = panoptic_layouts.cityscapes(tmp_path / "set")
    given = {"overrides": [], "output": tmp_path / "out", "json": True, "quiet": False}
    path = panoptic_config(root, "cityscapes_panoptic")
    code = check(argparse.Namespace(config=path, workers=0, **given))
    told = json.loads(capsys.readouterr().out)
    assert (code, told["findings"]) == (0, {})
    assert told["classes"][13]["pixels"] == {"train": 54, "val": 27}
    assert len(told["pictures"]) == 2
    ids, segments = scenes.street()
    made = labels_and_outlines(ids, segments)
    assert made["outlines"][2].tolist() == [1, 0, 0, 0, 1, 1, 1, 1]
    grey = np.full((6, 8, 3), 0.5)
    laid = overlay(grey, **made, colors=np.zeros((256, 3), np.uint8))
    assert (laid[made["outlines"]] == 1).all()
    assert laid[1, 1:4] == pytest.approx(0.2)


def found_in(path):
    """Return what is wrong with the set of a config, without the pictures, and its frames."""
    sources, survey = open_splits(read_config(path, []))
    survey.looks += read_all(sources, 0)
    return survey.findings, survey


def test_every_fault_of_a_panoptic_set_is_listed(tmp_path):
    root = panoptic_layouts.coco(tmp_path / "set", train=7)
    maps = root / "annotations/panoptic_train2017"
    about = json.loads((root / "annotations/panoptic_train2017.json").read_text())
    rows = {row["image_id"]: row["segments_info"] for row in about["annotations"]}
    del rows[0][0]
    rows[1].append(scenes.segment(77, 1))
    rows[2][0]["category_id"] = 91
    del rows[3][:]
    panoptic_layouts.save(np.zeros((8, 9, 3), np.uint8), maps / "000000000003.png")
    (maps / "000000000004.png").write_bytes(b"")
    (root / "annotations/panoptic_train2017.json").write_text(json.dumps(about))
    path = panoptic_config(root, "coco_panoptic")
    findings, survey = found_in(path)
    names = {kind: [row.file.rpartition("/")[2] for row in rows] for kind, rows in findings.items()}
    assert names == {
        "mis-segmented": ["000000000000.png", "000000000001.png"],
        "mislabelled": ["000000000002.png"],
        "mis-sized": ["000000000003.jpg"],
        "empty": ["000000000004.png"],
    }
    assert survey.strange[91].pixels == 40
    said = [row.said for row in findings["mis-segmented"]]
    assert "ids 1000 have 40 pixels" in said[0]
    assert "segments 77 of" in said[1]
    (root / "train2017/000000000005.jpg").unlink()
    findings, survey = found_in(path)
    assert len(findings["unpaired"]) == 1
    assert survey.frames == {"train": 6, "val": 2}
