"""From a set of instances to batches: transforms, padding, and what nets are taught of them."""

import numpy as np
import pytest

from common.data.toy import write_toy_cityscapes
from common.errors import DataError
from common.instances.sets.dataset import InstanceDataset
from common.instances.sets.transforms import (
    FlipObjects,
    ResizeEdges,
    ShrinkToFit,
    training_transforms,
)
from common.instances.sizes import padded
from common.instances.solo_targets import solo_targets
from common.instances.teach import Teacher, objects_by_image, solo_levels
from common.settings.load import load_settings
from common.training.feed import open_data, training_batches, validation_batches
from tests.common.instances import layouts
from tests.paths import CONFIGS

pytest.importorskip("pycocotools")
RNG = np.random.default_rng(0)
SMALL = {"num_grids": (6, 5, 4, 3, 2), "strides": (8, 8, 16, 32, 32)}
SMALL["scale_ranges"] = ((1, 24), (16, 40), (32, 60), (50, 80), (70, 500))


def scene(size=(40, 60)):
    masks = np.zeros((2, *size), np.uint8)
    masks[0, 4:12, 10:30] = masks[1, 20:38, 2:12] = 1
    boxes = np.array([[10, 4, 30, 12], [2, 20, 12, 38]], np.float32)
    known = {"boxes": boxes, "labels": np.array([2, 1]), "masks": masks}
    image = np.arange(size[0] * size[1] * 3).reshape(*size, 3).astype(np.uint8)
    return image, known | {"iscrowd": np.array([False, False]), "image_id": 1}


def test_edges_are_resized_as_mmdetection_does():
    image, objects = ResizeEdges((80,), 1000)(*scene(), RNG)
    assert image.shape == (80, 120, 3)
    np.testing.assert_array_equal(objects["boxes"][0], [20, 8, 60, 24])
    np.testing.assert_array_equal(objects["masks"], scene()[1]["masks"].repeat(2, 1).repeat(2, 2))
    image, objects = ResizeEdges((80,), 100)(*scene(), RNG)  # the longer edge decides
    assert image.shape == (67, 100, 3)
    assert objects["boxes"][0] == pytest.approx([100 / 6, 6.7, 50, 20.1])
    assert {ResizeEdges((40, 80), 999)(*scene(), RNG)[0].shape[0] for _ in range(20)} == {40, 80}


def test_a_mirror_image_has_its_boxes_at_their_masks():
    image, objects = FlipObjects(1.0)(*scene(), RNG)
    np.testing.assert_array_equal(image, scene()[0][:, ::-1])
    np.testing.assert_array_equal(objects["boxes"][0], [30, 4, 50, 12])
    assert objects["masks"][0, 4:12, 30:50].all()
    same, objects = FlipObjects(0.0)(*scene(), RNG)
    np.testing.assert_array_equal(same, scene()[0])


def test_what_is_larger_than_the_crop_is_shrunk_into_it():
    image, objects = ShrinkToFit((32, 32))(*scene(), RNG)
    assert image.shape == (21, 32, 3)
    assert objects["masks"].shape == (2, 21, 32)
    assert ShrinkToFit((64, 64))(*scene(), RNG)[0].shape == (40, 60, 3)
    names = [type(step).__name__ for step in training_transforms((32, 32), (40,), 60, 0.5)]
    assert names == ["ResizeEdges", "ShrinkToFit", "FlipObjects"]


def test_what_solo_learns_of_a_batch_comes_back_image_by_image():
    first, second = scene()[1], scene((64, 50))[1]
    second["iscrowd"] = np.array([True, False])
    target = Teacher("solo", 3, SMALL)([first, second], (64, 96))
    assert {array.dtype.kind for array in target.values()} <= {"i", "u"}
    levels = solo_levels(target)
    for objects, found in zip((first, second), levels, strict=True):
        masks = np.zeros((2, 64, 96), np.uint8)
        masks[:, : objects["masks"].shape[1], : objects["masks"].shape[2]] = objects["masks"]
        kept = ~objects["iscrowd"]
        given = masks[kept], objects["boxes"][kept], objects["labels"][kept] - 1
        expected = solo_targets(*given, num_classes=3, **SMALL)
        for own, right in zip(found, expected, strict=True):
            assert set(own) == set(right)
            for name, array in right.items():
                np.testing.assert_array_equal(own[name], array)
    assert solo_levels(expected) == [expected]
    assert solo_levels([expected, expected]) == [expected, expected]


def test_objects_come_back_image_by_image_without_padding():
    first, second = scene()[1], scene((64, 50))[1]
    first["iscrowd"] = np.array([True, True])
    target = Teacher("objects", 3)([first, second], (64, 96))
    nothing, both = objects_by_image(target)
    assert nothing["masks"].shape == (0, 40, 60)
    assert nothing["boxes"].shape == (0, 4)
    np.testing.assert_array_equal(both["masks"], second["masks"])
    np.testing.assert_array_equal(both["labels"], [2, 1])


def test_images_of_several_sizes_are_padded_with_the_mean(tmp_path):
    assert padded([(33, 64), (10, 65)], 32) == (64, 96)
    layouts.write(tmp_path, "val")
    from common.instances.sets.coco import CocoInstances

    source = CocoInstances(tmp_path, "val", names=layouts.NAMES)
    data = InstanceDataset(source, None, [ResizeEdges((50,), 70)])
    batch = data.batch_of([data.sample(0, index) for index in range(3)])
    assert batch.image.shape == (3, 3, 64, 96)
    assert not batch.image[:, :, 47:].any()
    assert batch.image[:, :, :47, :70].any()
    about = {"id": 2, "height": 40, "width": 60, "seen": [47, 70], "padded": [64, 96]}
    assert batch.target["image"][0] == about
    assert [row["category_id"] for row in batch.target["annotations"][1]] == [1, 0, 1, 0, 0, 0]
    small = InstanceDataset(source, None, size_hw=(32, 64))
    with pytest.raises(DataError, match="60 x 40 does not fit 64 x 32"):
        small.batch_of([small.sample(0, 0)])


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, layout="coco_instances", train=8, val=3, size_hw=(64, 96))
    return folder


def test_batches_of_a_config_are_the_same_from_reading_processes(toy):
    given = [f"data.root={toy}", "data.batch_size=2"]
    batches = []
    for workers in (0, 1):
        settings = load_settings(
            CONFIGS / "solo_r50_fpn_toy.yml", [*given, f"data.workers={workers}"]
        )
        data = open_data(settings)
        batches.append(next(training_batches(data.train, settings))[0])
        validated = next(validation_batches(data.val, settings))
        assert set(validated.target) == {"image", "annotations"}
    assert batches[0].image.shape == (2, 3, 96, 128)
    for name, array in batches[0].target.items():
        np.testing.assert_array_equal(batches[1].target[name], array)
