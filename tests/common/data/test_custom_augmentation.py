"""Steps of one's own choice: each by a picture, and that image and label move together."""

import colorsys

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from common.data import SegmentationDataset
from common.data.transforms.arrays import PadAndCrop, Rotate
from common.data.transforms.fast import ScaledCrop, Warp
from common.data.transforms.images import RandomCrop, RandomScale
from common.data.transforms.mixing import Jitter, Mosaic
from common.data.transforms.recipes import AUGMENTATIONS, STEPS, custom, stdc
from common.errors import ConfigError, DataError
from common.randomness import generator
from common.settings.load import load_settings
from tests.common.data.frames import Fixed, frame
from tests.paths import CONFIGS

FILL = (10.0, 20.0, 30.0)
COLORS = np.random.default_rng(0).integers(60, 250, (256, 3))
COLORS[255] = FILL


class Blocks:
    """Frames of flat regions whose colour says the class."""

    def __init__(self, sizes=((60, 90), (70, 50), (45, 80), (64, 64), (30, 40))):
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def read(self, index):
        rng = np.random.default_rng(index)
        height, width = self.sizes[index]
        cells = rng.integers(0, 19, (height // 15 + 1, width // 15 + 1)).astype(np.uint8)
        label = cells.repeat(15, 0).repeat(15, 1)[:height, :width]
        return Image.fromarray(COLORS[label].astype(np.uint8)), Image.fromarray(label)


def inside(label, margin):
    """Return the pixels all of whose neighbours are there and have their class."""
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    found = np.zeros(label.shape, bool)
    middle = (slice(margin, -margin), slice(margin, -margin))
    found[middle] = (cv2.erode(label, kernel) == cv2.dilate(label, kernel))[middle]
    return found


GEOMETRY = {
    "flip": {"flip": 0.5},
    "scale_range": {"scale_range": (0.5, 2.0)},
    "scales": {"scales": (0.5, 1.5)},
    "rotate": {"degrees": 10.0, "rotate": 1.0},
    "pad": {"scales": (0.4,), "pad": "centre"},
    "mosaic": {"mosaic": 1.0},
    "all": {"flip": 0.5, "scale_range": (0.5, 2.0), "degrees": 10.0, "mosaic": 0.5},
}


@pytest.mark.parametrize("order", ["listed", "fast"])
@pytest.mark.parametrize("name", GEOMETRY)
def test_label_and_image_move_together(name, order):
    """Wherever a label is flat, the image has the colour of its class: void has the fill."""
    more = {"order": "fast"} if order == "fast" else {}
    steps = custom((48, 56), FILL, **GEOMETRY[name], **more)
    data, seen, moved = Blocks(), set(), 0
    dataset = SegmentationDataset(data, steps, seed=3)
    for index in range(len(data)):
        rng = generator(index, "test")
        image, label = dataset.transformed(*data.read(index), rng)
        assert image.shape == (48, 56, 3)
        assert image.dtype == np.float32
        flat = inside(label, 2)
        assert np.abs(image[flat] - COLORS[label[flat]]).max() < 1.01
        assert flat.mean() > 0.3
        seen |= set(np.unique(label).tolist())
        moved += not np.array_equal(label, np.asarray(data.read(index)[1])[:48, :56])
    assert len(seen) > 5
    assert moved


PAPERS = {
    "semseg": {"blur": 0.0},
    "kazuto": {},
    "torchvision": {"short_side": (40, 80)},
    "panoptic_deeplab": {},
    "detectron2": {"short_sides": (30, 40, 80), "longest": 90},
}


@pytest.mark.parametrize("name", PAPERS)
def test_the_fast_orders_of_papers_move_label_and_image_together(name):
    fill = (0.0, 0.0, 0.0) if name == "torchvision" else FILL
    colors = COLORS.copy()
    colors[255] = fill
    data, shares = Blocks(), {}
    for order in ("authors", "fast"):
        steps = AUGMENTATIONS[name]((48, 56), FILL, **PAPERS[name], order=order)
        dataset, flat = SegmentationDataset(data, steps, seed=3), []
        for index in range(len(data)):
            rng = generator(index, "test")
            image, label = dataset.transformed(*data.read(index), rng)
            assert image.shape == (48, 56, 3)
            flat.append(inside(label, 2))
            assert np.abs(image[flat[-1]] - colors[label[flat[-1]]]).max() < 1.01
        shares[order] = np.mean(flat)
    assert shares["fast"] == pytest.approx(shares["authors"], rel=0.25)


def test_the_fast_order_of_torchvision_draws_the_shorter_side():
    image, label = (np.asarray(part) for part in frame(24, 16))
    warp = Warp((8, 12), FILL, short_side=(8, 32))
    got, _ = warp(image, label, Fixed(0.999, 0.0, 0.0))
    whole = cv2.resize(image, (48, 32), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(got, whole[:8, :12], atol=1)


LISTED = ("blur", "scale", "crop", "rotate", "jitter", "mosaic", "flip")


@pytest.mark.parametrize("order", [STEPS, LISTED, "fast"])
def test_every_step_in_any_order_gives_the_same_sample_for_a_key(order):
    options = {**GEOMETRY["all"], "brightness": 0.4, "contrast": 0.4, "saturation": 0.4}
    steps = custom((32, 40), FILL, **options, hue=0.1, blur=0.5, order=order)
    first, again = (SegmentationDataset(Blocks(), steps, seed=5) for _ in range(2))
    for epoch, index in ((0, 0), (1, 0), (0, 3)):
        image, label = first.sample(epoch, index)
        assert (image.shape, label.shape) == ((3, 32, 40), (32, 40))
        assert np.isfinite(image).all()
        same = again.sample(epoch, index)
        assert np.array_equal(image, same[0])
        assert np.array_equal(label, same[1])
    other = first.sample(2, 0)[0]
    assert not np.array_equal(other, first.sample(0, 0)[0])


def test_steps_come_in_the_order_that_is_said():
    options = {**GEOMETRY["all"], "brightness": 0.4, "blur": 0.5}
    kinds = [type(step).__name__ for step in custom((8, 8), FILL, **options)]
    assert kinds == [
        *("AsArrays", "Mosaic", "Jitter", "Flip", "UniformScale", "Rotate", "Blur", "PadAndCrop")
    ]
    kinds = [type(step).__name__ for step in custom((8, 8), FILL, **options, order="fast")]
    assert kinds == ["Mosaic", "Warp", "Jitter", "Blur"]
    kinds = [type(step).__name__ for step in custom((8, 8), FILL, **options, order=LISTED)]
    assert kinds[:4] == ["AsArrays", "Blur", "UniformScale", "PadAndCrop"]


def test_a_mosaic_is_this_picture():
    """Frames of one class each; the centre of 8 x 8 is at row 4, column 5."""
    frames = [(np.full((8, 8, 3), 9 * k, np.float32), np.full((8, 8), k, np.uint8)) for k in (1, 2)]
    frames.append((np.full((2, 2, 3), 27, np.uint8), np.full((2, 2), 3, np.uint8)))  # a small one
    drawn = iter((frames[1], frames[2], frames[1]))
    rng = Fixed(0.4, 0.5, 0.8, *[0.0] * 8)
    image, label = Mosaic(FILL, 0.5)(*frames[0], rng, lambda: next(drawn))
    golden = np.full((8, 8), 255, np.uint8)
    golden[:4, :5], golden[:4, 5:], golden[4:6, :2], golden[4:, 5:] = 1, 2, 3, 2
    assert np.array_equal(label, golden)
    assert np.array_equal(
        image[label != 255], 9.0 * np.repeat(golden[golden != 255], 3).reshape(-1, 3)
    )
    assert (image[label == 255] == FILL).all()
    assert rng.numbers == []
    assert Mosaic(FILL, 0.5)(*frames[0], Fixed(0.5), None)[0] is frames[0][0]


def test_jitter_is_pillows_and_the_hue_that_of_colorsys():
    picture = frame(20, 12)[0]
    image = np.asarray(picture, np.float32)
    steps = [("Brightness", 1.2), ("Contrast", 0.7), ("Color", 1.4)]
    for at, (name, factor) in enumerate(steps):
        strengths = [0.5 if at == k else 0.0 for k in range(3)]
        got, label = Jitter(*strengths)(image, "label", Fixed(0.0, factor - 0.5))
        wanted = getattr(ImageEnhance, name)(picture).enhance(factor)
        np.testing.assert_allclose(got, np.asarray(wanted, float), atol=1.5)
        assert label == "label"
    got, _ = Jitter(hue=0.1)(image, "label", Fixed(0.0, 0.25))  # -0.05 of the circle
    hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in (image / 255).reshape(-1, 3).tolist()]
    wanted = [colorsys.hsv_to_rgb((hue - 0.05) % 1, *rest) for hue, *rest in hsv]
    np.testing.assert_allclose(got.reshape(-1, 3), 255 * np.array(wanted), atol=0.05)
    assert Jitter(0.5, probability=0.5)(image, "label", Fixed(0.5))[0] is image


def test_jitter_draws_for_what_is_on_alone_and_cuts_to_the_range():
    image = np.full((2, 2, 3), 250.0, np.float32)
    rng = Fixed(0.0, 0.999, 0.5, 0.5)
    got, _ = Jitter(0.5, 0.0, 0.5, 0.1)(image, None, rng)
    assert rng.numbers == []
    assert (got == 255).all()
    assert (image == 250).all()  # what was given is not written on


def test_a_warp_that_only_cuts_is_the_cut_itself():
    image, label = (np.asarray(part) for part in frame(24, 16))
    got, truth = Warp((9, 12), FILL)(image, label, Fixed(0.999, 0.999))
    assert np.array_equal(got, image[7:16, 12:24])
    assert np.array_equal(truth, label[7:16, 12:24])
    got, truth = Warp((9, 12), FILL, flip=1.0)(image, label, Fixed(0.0, 0.0, 0.0))
    assert np.array_equal(got, image[:9, ::-1][:, :12])
    assert np.array_equal(truth, label[:9, ::-1][:, :12])


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_warp_that_scales_is_opencvs_resize(scale):
    image, label = (np.asarray(part) for part in frame(24, 16))
    got, _ = Warp((8, 12), FILL, scales=(scale,))(image, label, Fixed(0.0, 0.0, 0.0))
    whole = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(got, whole[:8, :12], atol=1)


@pytest.mark.parametrize("centred", [False, True])
def test_a_warp_pads_and_turns_like_the_steps(centred):
    frame_of = Blocks(((40, 60),)).read(0)
    image, label = np.asarray(frame_of[0], np.float32), np.asarray(frame_of[1])
    warp = Warp((70, 80), FILL, degrees=10.0, rotate=1.0, centred=centred)
    got, truth = warp(image, label, Fixed(0.0, 0.9, 0.5, 0.5))
    turned = Rotate(10.0, FILL, 1.0)(image, label, Fixed(0.0, 0.9))
    wanted, classes = PadAndCrop((70, 80), FILL, centred)(*turned, Fixed(0.5, 0.5))
    there = inside(classes, 2) & inside(truth, 2) & (classes != 255)
    assert there.mean() > 0.1
    assert np.array_equal(truth[there], classes[there])
    np.testing.assert_allclose(got[there], wanted[there], atol=1)


@pytest.mark.parametrize("scale", [0.375, 0.5, 1.0, 1.25, 1.5])
@pytest.mark.parametrize("size", [(16, 32), (40, 48)])
def test_the_fast_order_of_stdc_cuts_the_same_window(scale, size):
    """Within a rounding where the frame is not enlarged first."""
    image, label = Blocks(((48, 96),)).read(0)
    numbers = (0.0, 0.3, 0.6)
    rng = Fixed(*numbers)
    paper = RandomCrop(size)(*RandomScale((scale,))(image, label, rng), rng)
    got = ScaledCrop((scale,), size)(image, label, Fixed(*numbers))
    assert got[0].size == got[1].size == paper[0].size
    pixels, classes = (np.asarray(part) for part in paper)
    if size[0] <= int(48 * scale):
        assert np.abs(np.asarray(got[0], float) - pixels).max() <= 1
        assert np.array_equal(got[1], classes)
    else:  # enlarged once, not twice
        flat = inside(classes, 3) & inside(np.asarray(got[1]), 3)
        assert flat.any()
        assert np.abs(np.asarray(got[0], float)[flat] - pixels[flat]).max() <= 2


def test_the_fast_order_of_stdc_jitters_the_crop_alone():
    kinds = [type(step).__name__ for step in stdc((8, 16), FILL, order="fast")]
    assert kinds == ["ScaledCrop", "HorizontalFlip", "ColorJitter"]
    image, label = frame(8, 4)
    step = ScaledCrop((1.0,), (4, 8))
    assert np.array_equal(step(image, label, Fixed(0.0))[0], np.asarray(image))
    long = ScaledCrop((1.0,), (4, 20), FILL)(image, label, Fixed(0.0, 0.5, 0.5))
    assert (np.asarray(long[1])[:, 9:] == 255).all()
    assert (np.asarray(long[0])[:, 9:] == FILL).all()
    with pytest.raises(DataError, match="8 x 4 would vanish"):
        ScaledCrop((0.125,), (4, 8))(image, label, Fixed(0.0))


def test_a_config_names_the_steps():
    more = ["data.augmentation.name=custom", "data.augmentation.degrees=10"]
    data = load_settings(CONFIGS / "stdc1_toy.yml", more).data
    assert [type(step).__name__ for step in data.transforms()] == [
        "AsArrays",
        "Rotate",
        "PadAndCrop",
    ]
    fast = load_settings(CONFIGS / "stdc1_toy.yml", [*more, "data.augmentation.order=fast"]).data
    assert [type(step).__name__ for step in fast.transforms()] == ["Warp"]
    listed = "data.augmentation.order=[scale,crop,jitter,flip,rotate,blur,mosaic]"
    steps = load_settings(CONFIGS / "stdc1_toy.yml", [*more, listed]).data.transforms()
    assert [type(step).__name__ for step in steps] == ["AsArrays", "PadAndCrop", "Rotate"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("order=quick", r"data\.augmentation\.order: expected fast, or each of mosaic, jitter"),
        ("order=[crop,crop]", "or each of mosaic"),
        ("order=[crop,scale,jitter,flip,rotate,blur,mosaic]", "scale comes behind crop"),
        ("blur_size=4", "odd number"),
        ("scale_range=[2,1]", "the smaller comes first"),
        ("hue=0.7", "less than or equal to 0.5"),
        ("rotations=0.7", "unknown key data.augmentation.rotations; did you mean"),
    ],
)
def test_what_no_step_takes_is_refused(override, told):
    more = ["data.augmentation.name=custom", f"data.augmentation.{override}"]
    with pytest.raises(ConfigError, match=told):
        load_settings(CONFIGS / "stdc1_toy.yml", more)


def test_two_kinds_of_scale_are_refused():
    more = ["name=custom", "scales=[1.0]", "scale_range=[1.0,2.0]"]
    with pytest.raises(ConfigError, match="take out one of them"):
        load_settings(CONFIGS / "stdc1_toy.yml", [f"data.augmentation.{key}" for key in more])
