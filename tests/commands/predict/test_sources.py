"""What is predicted and where results go: nothing that was given is ever written over."""

from pathlib import Path

import pytest
from PIL import Image

from commands.predict.sources import list_items
from common.errors import UserError

KINDS = ("ids", "overlay", "sheet")


def photos(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(folder / name)
    return folder


def test_a_folder_is_taken_with_what_lies_below_it(tmp_path):
    given = photos(tmp_path / "in", "a.jpg", "b/c.PNG", ".hidden/d.png", "b/e.tif")
    (given / "notes.txt").write_text("x")
    (given / "clip.mp4").write_bytes(b"x")
    listed = list_items([given], tmp_path / "out", KINDS)
    assert [item.path.name for item in listed.items] == ["a.jpg", "c.PNG", "e.tif"]
    assert listed.items[1].outputs == {
        "ids": tmp_path / "out/b/c.png",
        "overlay": tmp_path / "out/b/c_overlay.jpg",
        "sheet": tmp_path / "out/b/c_sheet.jpg",
    }
    assert [(path.name, why) for path, why in listed.skipped] == [
        ("clip.mp4", "a video: give it by itself"),
        ("notes.txt", "no photo"),
    ]
    both = list_items([given, given / "clip.mp4"], tmp_path / "out", ("ids",))
    assert [path.name for path, _ in both.skipped] == ["notes.txt"]
    assert both.items[-1].outputs == {"ids": tmp_path / "out/clip_ids.mp4"}


def test_results_in_the_folder_of_photos_are_no_photos(tmp_path):
    given = photos(tmp_path, "a.jpg", "out/a_overlay.jpg")
    assert [i.path.name for i in list_items([given], tmp_path / "out", ("ids",)).items] == ["a.jpg"]


def test_two_photos_of_one_name_get_two_results(tmp_path):
    given = photos(tmp_path / "in", "a.jpg", "a.png", "b.png")
    found = list_items([given], tmp_path / "out", ("ids",)).items
    names = [item.outputs["ids"].name for item in found]
    assert names == ["a_jpg.png", "a_png.png", "b.png"]
    others = photos(tmp_path / "more", "a.jpg")
    with pytest.raises(UserError, match="would be written twice"):
        list_items([given / "a.jpg", others / "a.jpg"], tmp_path / "out", ("ids",))


def test_nothing_is_written_over(tmp_path):
    given = photos(tmp_path, "a.png")
    for force in (False, True):
        with pytest.raises(UserError, match="which is read"):
            list_items([given], given, ("ids",), force)
    photos(tmp_path / "out", "a.png")
    with pytest.raises(UserError, match="--force"):
        list_items([given / "a.png"], tmp_path / "out", ("ids",))
    assert list_items([given / "a.png"], tmp_path / "out", ("ids",), force=True).items


def test_what_is_not_there_or_makes_no_sense(tmp_path):
    with pytest.raises(UserError, match="no such photo"):
        list_items([tmp_path / "nowhere.jpg"], tmp_path / "out", KINDS)
    (tmp_path / "clip.avi").write_bytes(b"x")
    with pytest.raises(UserError, match="no sheet"):
        list_items([tmp_path / "clip.avi"], tmp_path / "out", ("sheet",))
    assert list_items([Path(tmp_path)], tmp_path / "out", KINDS).items == []
