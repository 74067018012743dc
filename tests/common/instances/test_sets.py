"""COCO instances: what is read and what is dropped, and annotation files that are damaged."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from common.data.sets.run_lengths import masks_for
from common.data.toy import write_toy_cityscapes
from common.data.toy.shapes import run_lengths
from common.errors import ConfigError, DataError, SizeMismatchError, UnpairedError
from common.instances.sets.coco import CocoInstances, topmost
from tests.common.instances import layouts
from tests.common.instances.layouts import NAMES, row

pytest.importorskip("pycocotools")


def opened(root, split="train", **options):
    return CocoInstances(root, split, **{"names": NAMES, **options})


def test_objects_are_those_of_the_file_in_its_order(tmp_path):
    layouts.write(tmp_path)
    data = opened(tmp_path)
    assert [frame.image_id for frame in data.frames] == [9]  # 2 has a crowd alone, 17 nothing
    assert (data.dropped, data.empty, data.category_ids) == (3, 2, (5, 3))
    image, objects = data.read_objects(0)
    assert (image.shape, image.dtype) == ((40, 60, 3), np.uint8)
    np.testing.assert_array_equal(objects["labels"], [2, 1, 2])
    boxes = [[30, 10, 38, 18], [5, 5, 15, 15], [50, 30, 60, 40]]
    np.testing.assert_array_equal(objects["boxes"], np.array(boxes, np.float32))
    assert (objects["boxes"].dtype, objects["masks"].dtype) == (np.float32, np.uint8)
    assert objects["masks"].sum((1, 2)).tolist() == [64, 100, 100]
    assert objects["masks"][1, 5:15, 5:15].all()
    assert not objects["iscrowd"].any()
    assert objects["image_id"] == 9
    assert len(data.annotations(0)) == 6  # an evaluation sees them all


def test_empty_images_and_crowds_where_they_are_asked_for(tmp_path):
    layouts.write(tmp_path)
    layouts.write(tmp_path, "val")
    for data in (opened(tmp_path, keep_empty=True), opened(tmp_path, "val")):
        assert [frame.image_id for frame in data.frames] == [2, 9, 17]
        crowd = data.read_objects(0).objects
        assert crowd["iscrowd"].tolist() == [True]
        assert crowd["masks"][0, :, :10].all()
        assert crowd["masks"].sum() == 400
        nothing = data.read_objects(2).objects
        assert nothing["masks"].shape == (0, 40, 60)
        assert nothing["boxes"].shape == (0, 4)
        assert np.asarray(data.read(0)[1]).min() == 255
        there = pickle.loads(pickle.dumps(data))
        assert there.read_objects(1).objects["labels"].tolist() == [2, 1, 2]


def test_the_last_object_lies_on_top():
    masks = np.zeros((2, 4, 6), np.uint8)
    masks[0, :, :4], masks[1, 1:, 2:] = 1, 1
    objects = {"masks": masks, "labels": np.array([3, 1]), "iscrowd": np.array([False, False])}
    classes, numbers = topmost(objects, (4, 6))
    assert classes[0].tolist() == [2, 2, 2, 2, 255, 255]
    assert classes[1].tolist() == [2, 2, 0, 0, 0, 0]
    assert numbers[1].tolist() == [0, 0, 1, 1, 1, 1]


def test_coco_s_classes_are_its_80_things(tmp_path):
    assert (CocoInstances.num_classes, CocoInstances.class_names[79]) == (80, "toothbrush")
    layouts.write(tmp_path)
    with pytest.raises(
        DataError, match=r"categories are cup, plate, expected person, .* data\.names"
    ):
        CocoInstances(tmp_path, "train")


BAD = {
    "no JSON": ("{", "JSONDecodeError"),
    "deep": ("[" * 100000, "it is nested too deeply"),
    "a list": ([], "TypeError"),
    "no images": ({"images": 7}, "TypeError"),
    "image twice": ({"images": layouts.content()["images"] * 2}, "id 9, .* twice"),
    "elsewhere": (
        {"images": [{"id": 9, "file_name": "../../secret.jpg", "width": 60, "height": 40}]},
        "outside of its folder",
    ),
    "no name": (
        {"images": [{"id": 9, "file_name": "./.", "width": 60, "height": 40}]},
        "outside of its folder",
    ),
    "of no size": (
        {"images": [{"id": 9, "file_name": "a.jpg", "width": 0, "height": 40}]},
        "0 x 40 pixels",
    ),
    "of text": (
        {"images": [{"id": 9, "file_name": "a.jpg", "width": "60", "height": 40}]},
        "'60' is no whole number",
    ),
    "no such image": ({"annotations": [row(1, 99, 5, (0, 0, 9, 9))]}, "annotation 1: .* image 99"),
    "no such category": (
        {"annotations": [row(1, 9, 77, (0, 0, 9, 9))]},
        "annotation 1: .* category 77",
    ),
    "twice": (
        {"annotations": [row(1, 9, 5, (0, 0, 9, 9))] * 2},
        "annotation 1 stands there twice",
    ),
    "a box of NaN": (
        {"annotations": [row(1, 9, 5, (0, 0, 9, 9), bbox=[0, 0, float("nan"), 9])]},
        "annotation 1: has the bbox",
    ),
    "a box of three": (
        {"annotations": [row(1, 9, 5, (0, 0, 9, 9), bbox=[0, 0, 9])]},
        "annotation 1: has the bbox",
    ),
    "half a crowd": (
        {"annotations": [row(1, 9, 5, (0, 0, 9, 9), iscrowd=0.5)]},
        "annotation 1: has 0.5 for iscrowd",
    ),
    "no region": (
        {"annotations": [row(1, 9, 5, (0, 0, 9, 9), segmentation=None) | {"segmentation": 3}]},
        "annotation 1: .*neither polygons",
    ),
    "nothing": ({"annotations": [{"id": 1}]}, "annotation 1: no 'image_id'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_damaged_file_is_one_clear_error(tmp_path, case):
    change, words = BAD[case]
    path = layouts.write(tmp_path, **(change if isinstance(change, dict) else {}))
    if not isinstance(change, dict):
        path.write_text(change if isinstance(change, str) else json.dumps(change))
    with pytest.raises(DataError, match=rf"instances_train2017\.json: .*{words}"):
        opened(tmp_path)


def test_a_region_that_is_none_is_named_where_it_is_drawn_or_scored(tmp_path):
    layouts.write(tmp_path, annotations=[row(1, 9, 5, (0, 0, 9, 9), [[0, 0, 1e30, 0, 5, 5]])])
    data = opened(tmp_path)
    for read in (data.read_objects, data.annotations):
        with pytest.raises(DataError, match=r"annotation 1 of 000000000009\.jpg: a polygon with"):
            read(0)


def test_what_is_absent_is_named(tmp_path):
    with pytest.raises(ConfigError, match="train or val"):
        opened(tmp_path, "test")
    with pytest.raises(DataError, match=r"no train2017 and no annotations/instances_train2017"):
        opened(tmp_path)
    layouts.write(tmp_path)
    image = tmp_path / "train2017" / "000000000009.jpg"
    Image.new("RGB", (5, 5)).save(image)
    with pytest.raises(SizeMismatchError, match=r"is 5 x 5 .* says 60 x 40"):
        opened(tmp_path).read_objects(0)
    image.unlink()
    with pytest.raises(UnpairedError, match="listed and not there") as caught:
        opened(tmp_path)
    assert len(caught.value.source) == 0


def test_the_toy_s_regions_are_what_it_says(tmp_path):
    write_toy_cityscapes(
        tmp_path / "toy", layout="coco_instances", train=24, val=1, size_hw=(64, 96)
    )
    names = ("disc", "square", "triangle")
    data = CocoInstances(tmp_path / "toy", "train", names=names, keep_empty=True)
    assert (len(data), data.dropped) == (24, 0)
    found = [data.read_objects(index).objects for index in range(24)]
    assert {int(label) for one in found for label in one["labels"]} == {1, 2, 3}
    assert any(one["iscrowd"].any() for one in found)
    assert any(not len(one["labels"]) for one in found)
    for index, one in enumerate(found):
        for mask, box, about in zip(
            one["masks"], one["boxes"], data.annotations(index), strict=True
        ):
            assert mask.sum() == pytest.approx(about["area"], rel=0.15, abs=12)
            ys, xs = mask.nonzero()
            ends = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert np.abs(box - ends).max() <= 1.5
            if about["iscrowd"]:
                assert run_lengths(mask) == about["segmentation"]["counts"]


def test_run_lengths_are_pycocotools_own():
    rng = np.random.default_rng(0)
    for share in (0.1, 0.9):
        mask = (rng.random((7, 5)) < share).astype(np.uint8)
        runs = {"size": [7, 5], "counts": run_lengths(mask)}
        masks = masks_for("coco")
        np.testing.assert_array_equal(masks.decode(masks.frPyObjects(runs, 7, 5)), mask)
