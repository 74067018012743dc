import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from common.data.transforms.images import (
    MEAN,
    STD,
    ColorJitter,
    FixedScale,
    HorizontalFlip,
    Normalisation,
    RandomCrop,
    RandomScale,
    RandomShortSide,
)
from common.data.transforms.recipes import STDC_SCALES, stdc
from common.randomness import generator
from tests.common.data.frames import Fixed, frame


def same(first, second):
    return first.size == second.size and first.tobytes() == second.tobytes()


def test_the_authors_order():
    kinds = [type(step) for step in stdc((512, 1024), (0, 0, 0))]
    assert kinds == [ColorJitter, HorizontalFlip, RandomScale, RandomCrop]


def test_the_authors_augmentation_step_by_step():
    """The whole chain from its seven numbers, spelled out with Pillow."""
    image, label = frame(64, 32)
    steps = stdc((16, 32), (0, 0, 0))
    rng = Fixed(0.1, 0.6, 0.9, 0.3, 0.5, 0.25, 0.75)
    got_image, got_label = image, label
    for step in steps:
        got_image, got_label = step(got_image, got_label, rng)
    image = ImageEnhance.Brightness(image).enhance(0.6)
    image = ImageEnhance.Contrast(image).enhance(1.1)
    image = ImageEnhance.Color(image).enhance(1.4)
    image, label = (i.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for i in (image, label))
    size = (56, 28)  # scale 0.875, the seventh
    image = image.resize(size, Image.Resampling.BILINEAR)
    label = label.resize(size, Image.Resampling.NEAREST)
    window = (6, 9, 38, 25)  # 0.25 * (56 - 32), 0.75 * (28 - 16)
    assert same(got_image, image.crop(window))
    assert same(got_label, label.crop(window))
    assert rng.numbers == []


def test_jitter_before_crop_is_not_crop_before_jitter():
    """Contrast pulls towards the mean of the whole frame: a port that crops first differs."""
    image, label = frame(64, 32)
    image.paste((255, 255, 255), (0, 0, 32, 32))
    jitter, crop = ColorJitter(0.5, 0.5, 0.5), RandomCrop((16, 32))
    first, _ = crop(*jitter(image, label, Fixed(0.5, 0.0, 0.5)), Fixed(0.9, 0.5))
    second, _ = jitter(*crop(image, label, Fixed(0.9, 0.5)), Fixed(0.5, 0.0, 0.5))
    assert not same(first, second)


def test_jitter_is_always_applied_and_leaves_the_label():
    image, label = frame(8, 8)
    jittered, same_label = ColorJitter(0.5, 0.5, 0.5)(image, label, Fixed(0.0, 0.0, 0.0))
    assert not same(jittered, image)
    assert same_label is label
    neutral, _ = ColorJitter(0.5, 0.5, 0.5)(image, label, Fixed(0.5, 0.5, 0.5))
    assert same(neutral, image)


def test_jitter_is_pillows_enhancement_to_the_bit():
    image, label = frame(64, 48)
    for numbers in ((0.0, 0.999, 0.3), (0.21, 0.64, 0.0), (0.999, 0.0, 0.999)):
        brightness, contrast, saturation = (0.5 + number for number in numbers)
        wanted = ImageEnhance.Brightness(image).enhance(brightness)
        wanted = ImageEnhance.Contrast(wanted).enhance(contrast)
        wanted = ImageEnhance.Color(wanted).enhance(saturation)
        got, _ = ColorJitter(0.5, 0.5, 0.5)(image, label, Fixed(*numbers))
        assert same(got, wanted)


@pytest.mark.parametrize(("number", "flipped"), [(0.0, True), (0.499, True), (0.501, False)])
def test_flip_takes_image_and_label_together(number, flipped):
    image, label = frame(6, 4)
    got_image, got_label = HorizontalFlip(0.5)(image, label, Fixed(number))
    step = -1 if flipped else 1
    assert (np.asarray(got_image) == np.asarray(image)[:, ::step]).all()
    assert (np.asarray(got_label) == np.asarray(label)[:, ::step]).all()


def test_scales_are_the_twelve_of_the_authors_and_sizes_are_cut():
    assert len(STDC_SCALES) == 12
    image, label = frame(70, 35)
    small, small_label = RandomScale((0.125, 1.5))(image, label, Fixed(0.0))
    assert small.size == small_label.size == (8, 4)  # 8.75 x 4.375
    assert set(np.unique(small_label)) <= set(np.unique(label))


def test_a_frame_too_small_is_enlarged_by_the_authors_formula():
    image, label = frame(256, 128)
    crop = RandomCrop((512, 1024))
    big, big_label = crop(image, label, Fixed(0.0, 0.0))
    size = (1025, 513)  # int(4 * 256 + 1), int(4 * 128 + 1)
    assert same(big, image.resize(size, Image.Resampling.BILINEAR).crop((0, 0, 1024, 512)))
    assert same(big_label, label.resize(size, Image.Resampling.NEAREST).crop((0, 0, 1024, 512)))


def test_a_frame_of_the_windows_size_draws_nothing():
    image, label = frame(8, 4)
    assert RandomCrop((4, 8))(image, label, Fixed())[0] is image


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(8, 60),
    half=st.integers(4, 30),
    scale=st.sampled_from(STDC_SCALES),
    seed=st.integers(0, 9),
)
def test_crops_of_two_to_one_frames_never_pad(height, half, scale, seed):
    image = Image.new("RGB", (2 * height, height), (255, 255, 255))
    label = Image.new("L", image.size, 7)
    rng = generator(seed, "test")
    out = image, label
    for step in (RandomScale((scale,)), RandomCrop((half, 2 * half))):
        out = step(*out, rng)
    assert out[0].size == out[1].size == (2 * half, half)
    assert np.asarray(out[0]).min() == 255
    assert np.asarray(out[1]).min() == 7


@pytest.mark.parametrize(("size", "enlarged"), [((32, 16), (33, 17)), ((5, 9), (65, 117))])
def test_what_a_longer_window_leaves_is_mean_and_void(size, enlarged):
    image, label = RandomCrop((16, 64), (1.4, 2.6, 3.0))(*frame(*size), generator(0, "test"))
    assert image.size == label.size == (64, 16)
    outside = np.ones((16, 64), bool)
    outside[: enlarged[1], : enlarged[0]] = False
    assert (np.asarray(image)[outside] == (1, 3, 3)).all()
    assert ((np.asarray(label) == 255) == outside).all()


def test_normalisation_equals_torchvisions_to_the_bit():
    torch = pytest.importorskip("torch")
    image, _ = frame(31, 17)
    unit = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32).div(255)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (MEAN, STD))
    got = Normalisation()(image)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert (got == unit.sub(mean).div(std).numpy()).all()


def test_normalisation_of_caffe_nets_is_bgr_minus_the_mean():
    """wkentaro/pytorch-fcn, torchfcn/datasets/voc.py, transform."""
    image, _ = frame(31, 17)
    mean = (104.00698793, 116.66876762, 122.67891434)
    caffe = Normalisation("bgr", 255, mean, (1.0, 1.0, 1.0))
    expected = np.array(image)[:, :, ::-1].astype(np.float64) - np.array(mean)
    np.testing.assert_allclose(caffe(image), expected.transpose(2, 0, 1), atol=2e-5)
    assert caffe.mean_color == (122.67891434, 116.66876762, 104.00698793)
    assert not caffe(np.full((2, 2, 3), caffe.mean_color, np.float32)).any()


@pytest.mark.parametrize(
    "normalisation", [Normalisation(), Normalisation("bgr", 255, (104.0, 116.7, 122.7), (1, 1, 1))]
)
def test_pictures_show_the_pixels_again(normalisation):
    image, _ = frame(31, 17)
    shown = normalisation.to_rgb(normalisation(image)[None])[0]
    np.testing.assert_allclose(shown * 255, np.array(image), atol=1e-3)


@pytest.mark.parametrize("options", [(), ("bgr", 255, (104.0, 116.7, 122.7), (57.0, 58.0, 59.0))])
def test_looking_up_and_computing_are_one_to_the_bit(options):
    pixels = np.stack([np.arange(256, dtype=np.uint8)] * 3, -1)[None] // np.array([1, 2, 3], "u1")
    normalise = Normalisation(*options)
    looked_up = normalise(pixels)
    assert (looked_up == normalise(pixels.astype(np.float32))).all()
    assert looked_up.flags.c_contiguous


def test_the_mean_colour_of_imagenet_is_semsegs_padding():
    assert Normalisation().mean_color == pytest.approx((123.675, 116.28, 103.53))


def test_fixed_scale_is_bicubic_and_cuts_sizes():
    image, label = frame(31, 17)
    small = FixedScale(0.5)(image, label, Fixed())
    assert same(small[0], image.resize((15, 8), Image.BICUBIC))
    assert same(small[1], label.resize((15, 8), Image.NEAREST))


@pytest.mark.parametrize(("number", "short"), [(0.0, 8), (0.999, 12)])
def test_random_short_side_includes_both_ends(number, short):
    image, label = frame(32, 16)
    got, _ = RandomShortSide(8, 12)(image, label, Fixed(number))
    assert got.size == (2 * short, short)
