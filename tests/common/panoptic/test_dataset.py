"""Samples of panoptic sets: image and ids go through one scale, crop and flip."""

import numpy as np
import pytest
from PIL import Image

from common.data.transforms.arrays import (
    AsArrays,
    ChosenScale,
    Fitted,
    PadAndCrop,
    Rotate,
    UniformScale,
)
from common.data.transforms.fast import ScaledCrop, Warp
from common.data.transforms.images import (
    ChosenShortSide,
    FixedScale,
    RandomCrop,
    RandomScale,
    RandomShortSide,
)
from common.data.transforms.mixing import Mosaic
from common.data.transforms.recipes import AUGMENTATIONS, detectron2, panoptic_deeplab
from common.errors import DataError
from common.panoptic.dataset import PanopticDataset
from common.panoptic.segments import areas_of, present
from common.panoptic.sets.cityscapes import CityscapesPanoptic
from common.panoptic.sets.coco import CocoPanoptic
from tests.common.panoptic import layouts
from tests.common.panoptic.scenes import blocks

SIZE = (30, 44)
FILL = (123.675, 116.28, 103.53)


def told(ids, segments):
    return {"ids": ids, "segments": segments}


def frame(seed=0, size_hw=(33, 41)):
    """Return an image whose colours are the ids, the ids, and the segments."""
    ids, segments = blocks(seed, size_hw)
    return layouts.colors_of(ids), ids, present(ids, segments)


STEPS = [
    RandomScale((0.7, 1.6)),
    FixedScale(0.6),
    RandomShortSide(20, 50),
    RandomCrop(SIZE, FILL),
    ScaledCrop((0.5, 1.7), SIZE, FILL),
    Warp(SIZE, FILL, scale_range=(0.5, 1.5), degrees=20, rotate=1.0, flip=0.5),
    [AsArrays(), UniformScale(0.5, 2.0)],
    [AsArrays(), ChosenScale((0.5, 1.3))],
    [AsArrays(), Rotate(30.0, FILL, 1.0)],
    [AsArrays(), PadAndCrop(SIZE, FILL, centred=True)],
    [AsArrays(), PadAndCrop(SIZE, FILL, anywhere=True)],
    panoptic_deeplab(SIZE, FILL, fitted=(30, 41, 8)),
    panoptic_deeplab(SIZE, FILL, order="fast"),
    panoptic_deeplab(SIZE, FILL, fitted=(30, 41, 8), scale_step=0.0, order="fast"),
    detectron2(SIZE, FILL, short_sides=(20, 40), longest=46),
    detectron2(SIZE, FILL, short_sides=(20, 40), longest=46, order="fast"),
]


@pytest.mark.parametrize("steps", STEPS, ids=lambda s: str(s)[:30])
def test_every_transform_moves_ids_as_it_moves_classes(steps):
    """Classes are the places of the segments; where there is none both are void."""
    pixels, ids, segments = frame()
    number = {row["id"]: place for place, row in enumerate(segments)} | {0: 255}
    classes = np.vectorize(number.get)(ids).astype(np.uint8)
    for seed in range(3):
        made = []
        for label in (classes, ids.astype(np.int32)):
            pair, rng = (
                (Image.fromarray(pixels), Image.fromarray(label)),
                np.random.default_rng(seed),
            )
            for step in steps if isinstance(steps, (list, tuple)) else [steps]:
                pair = step(*pair, rng)
            made.append(pair)
        (image, truth), (other, moved) = made
        assert (np.asarray(image) == np.asarray(other)).all()
        moved = np.asarray(moved)
        assert moved.dtype == np.int32
        assert set(np.unique(moved).tolist()) <= {0, *number}
        assert (np.vectorize(number.get)(moved) == np.asarray(truth)).all()


def test_a_mosaic_is_refused():
    pixels, ids, _ = frame()
    with pytest.raises(DataError, match="segments of several frames"):
        Mosaic(FILL, 0.5)(pixels, ids.astype(np.int32), np.random.default_rng(0), lambda: None)


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    return CocoPanoptic(layouts.coco(tmp_path_factory.mktemp("coco")), "train")


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return CityscapesPanoptic(layouts.cityscapes(tmp_path_factory.mktemp("city")), "train")


@pytest.mark.parametrize("name", ["coco", "city"])
def test_a_sample_has_what_the_crop_leaves(name, request):
    source = request.getfixturevalue(name)
    dataset = PanopticDataset(source, told, panoptic_deeplab((12, 12), FILL), seed=3)
    whole = {row["id"]: row for row in source.read_panoptic(1).segments}
    seen = set()
    for epoch in range(6):
        image, made = dataset.sample(epoch, 1)
        assert (image.dtype, image.shape) == (np.float32, (3, 12, 12))
        assert (made["ids"].dtype, made["ids"].shape) == (np.uint32, (12, 12))
        areas = areas_of(made["ids"])
        assert {row["id"]: row["area"] for row in made["segments"]} == areas
        for row in made["segments"]:
            assert row == whole[row["id"]] | {"area": areas[row["id"]]}
        seen.add(tuple(areas))
    assert len(seen) > 1
    again = dataset.sample(5, 1)
    assert (again[0] == image).all()
    assert (again[1]["ids"] == made["ids"]).all()


def test_an_untransformed_sample_is_the_frame(coco):
    dataset = PanopticDataset(coco, told)
    image, made = dataset.sample(0, 2)
    found = coco.read_panoptic(2)
    assert (image == dataset.normalisation(found.image)).all()
    assert (made["ids"] == found.ids).all()
    assert made["segments"] == found.segments
    assert (dataset.label(2) == np.asarray(coco.read_label(2))).all()


def test_errors_name_the_frame(coco):
    dataset = PanopticDataset(coco, told, [AsArrays(), UniformScale(0.001, 0.002)])
    with pytest.raises(DataError, match=r"000000000001.jpg: scale: an image of 30 x 20"):
        dataset.sample(0, 1)


def test_scales_of_the_recipe():
    scale = AUGMENTATIONS["panoptic_deeplab"](SIZE, FILL)[1]
    drawn = {scale._scale(np.random.default_rng(seed)) for seed in range(300)}
    assert sorted(drawn) == pytest.approx([0.5 + 0.1 * k for k in range(16)])
    image, label = np.full((3, 4, 3), 100.7, np.float32), np.zeros((3, 4), np.int32)
    made, _ = scale(image, label, np.random.default_rng(0))
    assert set(made.ravel().tolist()) == {100.0}
    one = UniformScale(1.5, 1.5, 0.1)
    assert one(image, label, np.random.default_rng(1))[1].shape == (4, 6)  # 4.5 is rounded to 4


@pytest.mark.parametrize(
    ("size_hw", "limits", "expected"),
    [
        # bowenc0221's Resize (cf8e20b) gives these sizes.
        ((480, 640), (641, 641, 32), (481, 641)),
        ((427, 640), (641, 641, 32), (449, 641)),
        ((30, 20), (33, 200, 8), (49, 33)),
        ((30, 20), (40, 40, 8), (33, 25)),
    ],
)
def test_sides_are_a_multiple_and_one(size_hw, limits, expected):
    image, label = np.zeros((*size_hw, 3), np.float32), np.zeros(size_hw, np.int32)
    made, truth = Fitted(*limits)(image, label, np.random.default_rng(0))
    assert made.shape[:2] == truth.shape == expected


@pytest.mark.parametrize(
    ("size_hw", "side", "longest", "expected"),
    [
        # detectron2's ResizeShortestEdge (02b5c4e) gives these sizes.
        ((427, 640), 512, 4096, (512, 767)),
        ((427, 640), 640, 960, (640, 959)),
        ((427, 640), 640, 640, (427, 640)),
        ((640, 427), 700, 960, (960, 641)),
    ],
)
def test_the_shorter_side_has_a_chosen_length(size_hw, side, longest, expected):
    image, label = Image.new("RGB", size_hw[::-1]), Image.new("I", size_hw[::-1])
    made, truth = ChosenShortSide((side,), longest)(image, label, np.random.default_rng(0))
    assert made.size == truth.size == expected[::-1]
