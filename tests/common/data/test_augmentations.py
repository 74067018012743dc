"""Augmentation on arrays: against OpenCV and Pillow called here, one drawn number at a time."""

import cv2
import numpy as np
import pytest
from PIL import Image

from common.data import SegmentationDataset
from common.data.transforms.arrays import (
    AsArrays,
    Blur,
    ChosenScale,
    Flip,
    PadAndCrop,
    Rotate,
    UniformScale,
)
from common.data.transforms.recipes import AUGMENTATIONS
from common.errors import ConfigError, DataError
from tests.common.data.frames import Fixed, frame

FILL = (123.675, 116.28, 103.53)
KINDS = {
    "none": ["AsArrays", "PadAndCrop"],
    "stdc": ["ColorJitter", "HorizontalFlip", "RandomScale", "RandomCrop"],
    "semseg": ["AsArrays", "UniformScale", "Rotate", "Blur", "Flip", "PadAndCrop"],
    "kazuto": ["AsArrays", "ChosenScale", "PadAndCrop", "Flip"],
    "torchvision": ["RandomShortSide", "HorizontalFlip", "AsArrays", "PadAndCrop"],
    "custom": ["AsArrays", "PadAndCrop"],
    "detectron2": ["ChosenShortSide", "AsArrays", "PadAndCrop", "Flip"],
    "panoptic_deeplab": ["AsArrays", "UniformScale", "PadAndCrop", "Flip"],
}


def arrays(width=24, height=16):
    return AsArrays()(*frame(width, height), None)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_authors_order(name):
    steps = AUGMENTATIONS[name]((16, 32), FILL)
    assert [type(step).__name__ for step in steps] == KINDS[name]
    if name == "none":
        assert AUGMENTATIONS[name](None, FILL) == ()
    else:
        with pytest.raises(ConfigError, match="crop_hw"):
            AUGMENTATIONS[name](None, FILL)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_recipe_gives_whole_crops_and_known_classes(name):
    class Two:
        def __len__(self):
            return 2

        def read(self, index):
            return frame(40 + 8 * index, 30, seed=index)

    size = (33, 41) if name != "stdc" else (16, 16)
    data = SegmentationDataset(Two(), AUGMENTATIONS[name](size, FILL), seed=1)
    for epoch in range(6):
        image, label = data.sample(epoch, epoch % 2)
        assert (image.shape, label.shape) == ((3, *size), size)
        assert np.isfinite(image).all()
        assert set(np.unique(label)) <= {*range(19), 255}
    again = data.sample(5, 1)
    assert (again[0] == image).all()


def test_arrays_are_not_rounded():
    image, label = arrays()
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    scaled, _ = UniformScale()(image, label, Fixed(0.3))
    assert (scaled != scaled.round()).any()


def test_uniform_scale_rounds_sizes():
    image, label = arrays()
    got, small = UniformScale(0.5, 2.0)(image, label, Fixed(0.3))
    assert got.shape == (15, 23, 3)  # 0.95 of 16 and 24, rounded
    assert (got == cv2.resize(image, None, fx=0.95, fy=0.95)).all()
    assert small.shape == (15, 23)
    assert set(np.unique(small)) <= set(np.unique(label))


def test_chosen_scale_cuts_sizes_and_shrinks_labels_like_pillow():
    image, label = arrays(25, 17)
    got, small = ChosenScale((2.0, 0.5))(image, label, Fixed(0.6))
    assert (got == cv2.resize(image, (12, 8))).all()
    assert (small == np.asarray(Image.fromarray(label).resize((12, 8), Image.NEAREST))).all()


def test_rotation_fills_with_mean_and_void():
    image, label = arrays()
    assert Rotate(10, FILL)(image, label, Fixed(0.5))[0] is image  # not below the probability
    got, turned = Rotate(10, FILL)(image, label, Fixed(0.4, 1.0))
    matrix = cv2.getRotationMatrix2D((12, 8), 10, 1)
    assert (got == cv2.warpAffine(image, matrix, (24, 16), borderValue=FILL)).all()
    np.testing.assert_allclose(got[0, -1], FILL, atol=1e-4)
    assert turned[0, -1] == 255
    assert set(np.unique(turned)) <= {*np.unique(label), 255}
    straight, same = Rotate(10, FILL)(image, label, Fixed(0.4, 0.5))
    np.testing.assert_allclose(straight, image, atol=1e-3)
    assert (same == label).all()


def test_blur_and_flip():
    image, label = arrays()
    got, same = Blur(5)(image, label, Fixed(0.4))
    assert (got == cv2.GaussianBlur(image, (5, 5), 0)).all()
    assert same is label
    got, mirrored = Flip()(image, label, Fixed(0.4))
    assert (got == image[:, ::-1]).all()
    assert (mirrored == label[:, ::-1]).all()
    assert Flip()(image, label, Fixed(0.5))[0] is image


@pytest.mark.parametrize(("centred", "corner"), [(True, (2, 5)), (False, (0, 0))])
def test_padding_is_mean_and_void(centred, corner):
    image, label = arrays(6, 4)
    got, padded = PadAndCrop((9, 16), FILL, centred)(image, label, Fixed(0.9, 0.9))
    top, left = corner
    inside = (slice(top, top + 4), slice(left, left + 6))
    assert (got[inside] == image).all()
    assert (padded[inside] == label).all()
    assert (padded == 255).sum() == 9 * 16 - 4 * 6
    np.testing.assert_allclose(got[padded == 255], np.broadcast_to(FILL, (120, 3)), atol=1e-4)


@pytest.mark.parametrize(("number", "at"), [(0.0, (0, 0)), (0.999, (7, 12))])
def test_every_offset_of_a_crop_can_be_drawn(number, at):
    image, label = arrays()
    got, _ = PadAndCrop((9, 12), FILL)(image, label, Fixed(number, number))
    assert (got == image[at[0] : at[0] + 9, at[1] : at[1] + 12]).all()


@pytest.mark.parametrize("scaled", [UniformScale(0.5, 0.5), ChosenScale((0.5,))])
def test_an_image_that_would_vanish_is_an_error(scaled):
    with pytest.raises(DataError, match="an image of 1 x 3 would vanish"):
        scaled(np.zeros((3, 1, 3), np.float32), np.zeros((3, 1), np.uint8), Fixed(0.0))
