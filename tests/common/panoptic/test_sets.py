"""COCO and Cityscapes panoptic: what is read, and what is wrong with what is on disk."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from common.data.toy import write_toy_cityscapes
from common.errors import (
    ConfigError,
    DamagedFileError,
    DataError,
    SegmentsError,
    SizeMismatchError,
    UnknownLabelsError,
    UnpairedError,
)
from common.panoptic.sets.cityscapes import CityscapesPanoptic
from common.panoptic.sets.coco import CocoPanoptic
from common.panoptic.sets.coco_categories import CATEGORIES, CLASS_OF
from common.panoptic.sets.instances import read_instances
from common.panoptic.sets.write import write_cityscapes_panoptic
from tests.common.panoptic import layouts
from tests.common.panoptic.scenes import segment


@pytest.fixture
def coco(tmp_path):
    return layouts.coco(tmp_path / "coco")


@pytest.fixture
def city(tmp_path):
    return layouts.cityscapes(tmp_path / "city")


@pytest.fixture
def listed_city(city):
    for split in ("train", "val"):
        write_cityscapes_panoptic(city, split)
    return city


def change(path, edit):
    """Change an annotation file: `edit` gets what it holds."""
    about = json.loads(path.read_text())
    edit(about)
    path.write_text(json.dumps(about))


def test_cocos_table():
    assert len(CATEGORIES) == len(CocoPanoptic.class_names) == 133
    assert (CLASS_OF[1], CLASS_OF[90], CLASS_OF[92], CLASS_OF[200]) == (0, 79, 80, 132)
    assert CocoPanoptic.things == tuple(range(80))
    assert CocoPanoptic.colors[132].tolist() == [250, 141, 255]


def test_coco_is_joined_by_the_images_id(coco):
    source = CocoPanoptic(coco, "train")
    assert [frame.image_id for frame in source.frames] == [0, 1, 2]
    for index in range(3):
        ids, rows = layouts.coco_scene(index)
        found = source.read_panoptic(index)
        assert (found.image.shape, found.image.dtype) == ((20, 30, 3), np.uint8)
        assert found.ids.dtype == np.uint32
        assert (found.ids == ids).all()
        expected = [row | {"category_id": CLASS_OF[row["category_id"]]} for row in rows]
        assert found.segments == expected
    assert len(CocoPanoptic(coco, "val")) == 2


def test_sets_travel_to_reading_processes(coco, city):
    for source in (CocoPanoptic(coco, "val"), CityscapesPanoptic(city, "val")):
        there = pickle.loads(pickle.dumps(source))
        assert there.read_panoptic(0).segments == source.read_panoptic(0).segments


def test_a_panoptic_set_is_one_of_classes_too(coco):
    source = CocoPanoptic(coco, "train")
    image, label = source.read(0)
    assert (image.mode, label.mode, image.size, label.size) == ("RGB", "L", (30, 20), (30, 20))
    classes = np.asarray(label)
    assert classes[0, 0] == CLASS_OF[187]
    assert set(np.unique(classes).tolist()) == {0, CLASS_OF[187], 255}
    assert (np.asarray(source.read_label(0)) == classes).all()


ROAD, SKY, CAR, PERSON = 0, 10, 13, 11
OF_CITY = [
    segment(7, ROAD, 0, 190),
    segment(23, SKY, 0, 120),
    segment(24, PERSON, 1, 24),
    segment(26000, CAR, 0, 15),
    segment(26001, CAR, 0, 12),
]


def test_instance_ids_of_cityscapes_are_segments(city):
    source = CityscapesPanoptic(city, "train")
    found = source.read_panoptic(0)
    assert sorted(found.segments, key=lambda row: row["id"]) == OF_CITY
    values = layouts.instance_ids()
    assert (found.ids == np.where(np.isin(values, [9, 29000]), 0, values)).all()
    assert source.things == tuple(range(11, 19))
    assert len(CityscapesPanoptic(city, "trainval")) == 3


def test_the_written_folder_gives_the_same(city):
    before = [CityscapesPanoptic(city, "train").read_panoptic(k) for k in (0, 1)]
    told = []
    file = write_cityscapes_panoptic(city, "train", progress=lambda *about: told.append(about))
    assert told == [(1, 2), (2, 2)]
    source = CityscapesPanoptic(city, "train")
    assert {frame.annotations for frame in source.frames} == {file}
    for index, made in enumerate(before):
        found = source.read_panoptic(index)
        assert (found.ids == made.ids).all()
        assert found.segments == made.segments
    row = json.loads(file.read_text())["annotations"][0]
    assert row["file_name"] == "toyburg_000000_000019_gtFine_panoptic.png"
    assert row["segments_info"][2] == segment(24, 24, 1, 24) | {"bbox": [3, 10, 6, 4]}
    with pytest.raises(DataError, match="is there already"):
        write_cityscapes_panoptic(city, "train")
    assert write_cityscapes_panoptic(city, "train", force=True) == file


def test_categories_may_be_train_ids(listed_city):
    gt = listed_city / "gtFine"
    train_ids = {7: 0, 23: 10, 24: 11, 26: 13}

    def edit(about):
        for annotation in about["annotations"]:
            for row in annotation["segments_info"]:
                row["category_id"] = train_ids[row["category_id"]]
        about["categories"] = [{"id": 0, "name": "road"}]

    expected = CityscapesPanoptic(listed_city, "val").read_panoptic(0).segments
    for name in ("cityscapes_panoptic_val", "cityscapes_panoptic_val.json"):
        (gt / name).rename(gt / name.replace("_val", "_val_trainId"))
    change(gt / "cityscapes_panoptic_val_trainId.json", edit)
    assert CityscapesPanoptic(listed_city, "val").read_panoptic(0).segments == expected


def drop(about):
    del about["annotations"][-1]["segments_info"][0]


def add(about):
    about["annotations"][-1]["segments_info"].append(segment(77, 1))


def twice(about):
    rows = about["annotations"][-1]["segments_info"]
    rows.append(dict(rows[0]))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (drop, "ids 1000 have 40 pixels in .*000000000000.png and are no segment of .*2017.json"),
        (add, "segments 77 of .*panoptic_train2017.json have no pixel in .*000000000000.png"),
        (twice, "the ids 1000 stand there twice"),
    ],
)
def test_a_list_that_is_not_the_maps(coco, edit, said):
    change(coco / "annotations/panoptic_train2017.json", edit)
    source = CocoPanoptic(coco, "train")
    source.read_panoptic(1)
    for read in (source.read_panoptic, source.read, source.read_label):
        with pytest.raises(SegmentsError, match=said):
            read(0)


def test_a_png_of_another_size(coco):
    layouts.save(np.zeros((8, 9, 3), np.uint8), coco / "annotations/panoptic_train2017" / PNG)

    def edit(about):
        about["annotations"][-1]["segments_info"] = []

    change(coco / "annotations/panoptic_train2017.json", edit)
    with pytest.raises(SizeMismatchError, match=r"is 30 x 20 .* label .* is 9 x 8"):
        CocoPanoptic(coco, "train").read_panoptic(0)


PNG = "000000000000.png"


def test_a_size_that_the_list_has_otherwise(coco):
    def edit(about):
        about["images"][0]["width"] = 31

    change(coco / "annotations/panoptic_train2017.json", edit)
    with pytest.raises(SizeMismatchError, match=r"is 30 x 20 .*2017.json says 31 x 20"):
        CocoPanoptic(coco, "train").read_panoptic(0)


def test_categories_outside_the_table_are_told_when_the_set_is_opened(coco):
    def edit(about):
        about["annotations"][-1]["segments_info"][0]["category_id"] = 91

    change(coco / "annotations/panoptic_train2017.json", edit)
    with pytest.raises(
        UnknownLabelsError, match=r"segments of the categories 91, .*none of the 133"
    ):
        CocoPanoptic(coco, "train")
    try:
        CocoPanoptic(coco, "train")
    except UnknownLabelsError as error:
        source = error.source
    source.read_panoptic(1)
    with pytest.raises(UnknownLabelsError, match="none of the 133") as error:
        source.read_panoptic(0)
    assert error.value.pixels == {91: 40}


def test_files_that_are_not_there(coco):
    maps = coco / "annotations/panoptic_train2017"
    (coco / "train2017/000000000002.jpg").unlink()
    (maps / PNG).unlink()
    with pytest.raises(UnpairedError, match=r"listed and not there: .*2.jpg") as error:
        CocoPanoptic(coco, "train")
    assert [frame.image_id for frame in error.value.source.frames] == [1]

    def edit(about):
        del about["annotations"][1]

    change(coco / "annotations/panoptic_val2017.json", lambda about: about["annotations"].pop())
    with pytest.raises(UnpairedError, match=r"images without an annotation: 000000000003.jpg"):
        CocoPanoptic(coco, "val")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"images": [], "annotations": [{"image_id": 1, "file_name": "a", "segments_info": []}]}',
        '{"images": [{"id": 1}], "annotations": [{"image_id": 1, "segments_info": [{}]}]}',
        '{"images": [{"id": 1, "file_name": "a", "height": 2, "width": 2}], "annotations": '
        '[{"image_id": 1, "file_name": "a", "segments_info": [{"id": 7, "category_id": 1.5}]}]}',
        '{"images": [{"id": 1, "file_name": "a", "height": 2, "width": 2}], "annotations": '
        '[{"image_id": 1, "file_name": "a", "segments_info": [{"id": 7, "category_id": 1, '
        '"iscrowd": "0"}]}]}',
    ],
)
def test_what_is_no_annotation_file(coco, text):
    (coco / "annotations/panoptic_train2017.json").write_text(text)
    with pytest.raises(DataError, match="not the annotations of a panoptic set"):
        CocoPanoptic(coco, "train")


def test_two_annotations_of_one_image(coco):
    def edit(about):
        about["annotations"].append(about["annotations"][0])

    change(coco / "annotations/panoptic_train2017.json", edit)
    with pytest.raises(DataError, match="two annotations are of image 2"):
        CocoPanoptic(coco, "train")


def test_annotations_of_another_set(coco, listed_city):
    def edit(about):
        about["categories"][0]["name"] = "people"

    change(coco / "annotations/panoptic_train2017.json", edit)
    with pytest.raises(DataError, match="category 1 is 'people', in this set it is 'person'"):
        CocoPanoptic(coco, "train")


def test_no_data(coco, tmp_path):
    with pytest.raises(ConfigError, match="train or val, got 'test'"):
        CocoPanoptic(coco, "test")
    with pytest.raises(DataError, match=r"no val2017 and no annotations/panoptic_val2017.json"):
        CocoPanoptic(tmp_path, "val")
    with pytest.raises(ConfigError, match="train, val, trainval, got 'test'"):
        CityscapesPanoptic(tmp_path, "test")
    with pytest.raises(DataError, match="no Cityscapes data"):
        CityscapesPanoptic(tmp_path, "val")


def test_half_of_the_annotations(listed_city):
    (listed_city / "gtFine/cityscapes_panoptic_val.json").unlink()
    with pytest.raises(DataError, match=r"_val is there and .*_val.json is not: they belong"):
        CityscapesPanoptic(listed_city, "val")


def test_images_that_cityscapes_lists_otherwise(listed_city):
    folder = listed_city / "leftImg8bit/train" / layouts.CITY
    layouts.save(layouts.photo(0, (16, 24)), folder / "toyburg_000007_000019_leftImg8bit.png")
    (folder / "toyburg_000001_000019_leftImg8bit.png").unlink()
    with pytest.raises(UnpairedError) as error:
        CityscapesPanoptic(listed_city, "train")
    told = {kind: [name[-35:] for name in names] for kind, names in error.value.problems.items()}
    assert told == {
        "files that are listed and not there": ["yburg_000001_000019_leftImg8bit.png"],
        "images without an annotation": ["yburg_000007_000019_leftImg8bit.png"],
    }
    assert len(error.value.source) == 1


def test_instance_ids_outside_the_table(city):
    values = layouts.instance_ids()
    values[0, :3], values[1, 0] = 40, 40001
    file = city / "gtFine/val" / layouts.CITY / "toyburg_000000_000019_gtFine_instanceIds.png"
    layouts.save(values, file)
    with pytest.raises(UnknownLabelsError, match=r"got 40 \(3 pixels\), 40001 \(1 pixel\)"):
        CityscapesPanoptic(city, "val").read_panoptic(0)
    with pytest.raises(UnknownLabelsError):
        write_cityscapes_panoptic(city, "val")
    assert not list((city / "gtFine").glob("*panoptic*"))


def test_a_map_that_cannot_be_read(coco):
    (coco / "annotations/panoptic_train2017" / PNG).write_bytes(b"no picture")
    with pytest.raises(DamagedFileError, match=PNG):
        CocoPanoptic(coco, "train").read(0)
    Image.new("L", (30, 20)).save(coco / "annotations/panoptic_train2017" / PNG)
    with pytest.raises(DamagedFileError, match="mode RGB, got L"):
        CocoPanoptic(coco, "train").read(0)


INSTANCE_IDS = "toyburg_000000_000019_gtFine_instanceIds.png"


def test_the_toy_streets_lie_on_disk_in_both_ways(tmp_path):
    size = {"train": 3, "val": 1, "size_hw": (64, 128), "seed": 1}
    write_toy_cityscapes(tmp_path / "city", **size)
    write_toy_cityscapes(tmp_path / "coco", layout="coco_panoptic", **size)
    city, coco = (
        CityscapesPanoptic(tmp_path / "city", "train"),
        CocoPanoptic(tmp_path / "coco", "train"),
    )
    assert {frame.annotations is not None for frame in city.frames} == {True}
    assert len(city) == len(coco) == 3
    values = read_instances(city.root / "gtFine/train/toyburg" / INSTANCE_IDS)
    burg = next(k for k, frame in enumerate(city.frames) if "toyburg" in frame.name)
    assert (city.read_panoptic(burg).ids == values).all()
    found = coco.read_panoptic(0)  # the same street
    assert {row["iscrowd"] for row in found.segments} == {0, 1}
    assert max(row["id"] for row in found.segments) > 1 << 20
    areas = [
        sorted(row["area"] for row in sample.segments if row["category_id"] == car)
        for sample, car in ((city.read_panoptic(burg), CAR), (found, CLASS_OF[3]))
    ]
    assert areas[0] == areas[1] != []
    assert len(CocoPanoptic(tmp_path / "coco", "val")) == 1
    again = tmp_path / "again"
    write_toy_cityscapes(again, layout="coco_panoptic", **size)
    files = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert len(files) == 2 * 4 + 2 + 1
    assert all((again / f).read_bytes() == (tmp_path / "coco" / f).read_bytes() for f in files)
    with pytest.raises(DataError, match=r"toy COCO panoptic: .* holds a toy set already"):
        write_toy_cityscapes(again, layout="coco_panoptic", **size)
    with pytest.raises(DataError, match="something else than a toy set"):
        write_toy_cityscapes(again, force=True, **size)
    with pytest.raises(
        ConfigError, match="cityscapes or coco_panoptic or coco_instances, got 'voc'"
    ):
        write_toy_cityscapes(tmp_path / "voc", layout="voc")
