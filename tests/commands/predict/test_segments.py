"""What is written of a panoptic prediction: ids that panopticapi reads, outlines, a legend."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands.predict.painters import SegmentPainter
from common.panoptic.ids import read_ids
from common.panoptic.pictures import Segments, truth_of

NAMES = ("road", "car", "sky")
COLORS = np.zeros((256, 3), np.uint8)
COLORS[:3] = [(128, 64, 128), (0, 0, 142), (70, 130, 180)]
VOID = -1
# Road, two cars that touch, a pixel of sky, void.
MAP = np.array(
    [
        [2000, 0, 0, 0, 0, VOID],
        [0, 1001, 1001, 1002, 1002, VOID],
        [0, 1001, 1001, 1002, 1002, VOID],
    ],
    np.int64,
)


@pytest.fixture
def painter():
    return SegmentPainter(NAMES, COLORS, (1,), 1000, (7, 26, 23))


def test_things_of_one_class_have_colours_of_their_own():
    segments = Segments(MAP, 1000, (1,))
    painted = segments.painted(COLORS)
    assert tuple(painted[0, 0]) == (70, 130, 180)
    assert tuple(painted[0, 1]) == (128, 64, 128)
    assert tuple(painted[0, 5]) == (0, 0, 0)
    assert tuple(painted[1, 1]) != tuple(painted[1, 3])
    many = Segments(np.arange(1001, 1008)[None], 1000, (1,)).painted(COLORS)
    assert len(np.unique(many[0], axis=0)) == 7
    assert segments.numbers() == {1: 2}
    assert segments.shares(NAMES) == {"car": 8 / 18, "road": 6 / 18, "sky": 1 / 18}


def test_outlines_are_where_segments_end():
    edge = Segments(MAP, 1000, (1,)).outlines()
    assert edge[1].tolist() == [True, False, True, False, True, False]
    assert not edge[2, 1]


def test_a_truth_is_numbered_as_a_prediction():
    ids = np.array([[5, 9, 9, 70000, 0]], np.uint32)
    rows = [
        {"id": number, "category_id": category, "iscrowd": 0, "area": 1}
        for number, category in ((5, 0), (9, 1), (70000, 1))
    ]
    assert truth_of(ids, rows, (1,), 1000).panoptic.tolist() == [[0, 1001, 1001, 1002, -1]]


def test_ids_are_panopticapis_and_listed(painter, tmp_path):
    photo = np.zeros((3, 6, 3), np.uint8)
    png = tmp_path / "street" / "a.png"
    png.parent.mkdir()
    painter.picture("ids", photo, MAP).save(png)
    painter.note(Path("a.jpg"), {"ids": png}, MAP)
    (path,) = painter.finish(tmp_path)
    listed = json.loads(path.read_text())
    (row,) = listed["annotations"]
    assert (row["image_id"], row["file_name"]) == ("street/a", "street/a.png")
    ids, areas = np.unique(read_ids(png), return_counts=True)
    held = dict(zip(ids.tolist(), areas.tolist(), strict=True))
    assert held.pop(0) == 3
    assert {info["id"]: info["area"] for info in row["segments_info"]} == held
    assert sorted(info["category_id"] for info in row["segments_info"]) == [7, 23, 26, 26]
    assert listed["categories"][1] == {"id": 26, "name": "car", "isthing": 1, "color": [0, 0, 142]}


def test_without_ids_nothing_is_listed(painter, tmp_path):
    painter.note(Path("a.jpg"), {"overlay": tmp_path / "a.jpg"}, MAP)
    assert painter.finish(tmp_path) == []


def test_pictures_have_outlines_and_the_size_of_the_photo(painter):
    photo = np.full((3, 6, 3), 200, np.uint8)
    made = np.asarray(painter.picture("overlay", photo, MAP))
    assert made.shape == photo.shape
    assert tuple(made[1, 0]) == (255, 255, 255)
    assert tuple(made[2, 5]) == (200, 200, 200)  # void: the photo
    assert (painter.frame("overlay", photo, MAP) == made).all()
    assert painter.frame("ids", photo, MAP).shape == photo.shape
    sheet = painter.picture("sheet", photo, MAP)
    assert isinstance(sheet, Image.Image)
    assert sheet.width > 2 * 240
    nothing = np.full((3, 6), VOID)
    assert painter.picture("sheet", photo, nothing).height > 0
    assert painter.shares(nothing) == {}
    assert painter.largest(MAP) == 2
