"""Augmentation on Pillow images, and the way to normalised arrays.

Each transform takes plain values, is called as (image, label, rng) and returns (image, label):
image of mode RGB, label of mode L, or of mode I: ids of segments. Source, where nothing else is
said: STDC-Seg, transform.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageStat

from common.errors import DataError
from common.randomness import choice, uniform

# (image, label, rng) -> (image, label): Pillow images, or arrays after `AsArrays`. One that has
# `takes_others` gets a fourth argument: a function that returns another frame of the set.
Transform = Callable[..., tuple[Any, Any]]

VOID = 255  # label of what is outside the image
VOID_ID = 0  # of ids of segments: what belongs to none

# ImageNet statistics of RGB in 0..1; authors' cityscapes.py, to_tensor.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast, saturation: always all three, in this order.

    Each factor is uniform in [max(1 - strength, 0), 1 + strength]. The label is untouched. It is
    Pillow's `ImageEnhance` to the bit, the first two by a table of what becomes of each value.
    """

    brightness: float
    contrast: float
    saturation: float

    def __call__(
        self, image: Image.Image, label: Image.Image, rng: np.random.Generator
    ) -> tuple[Image.Image, Image.Image]:
        """Draws three numbers, also where a strength is 0."""
        image = _towards(image, 0, _factor(self.brightness, rng))
        mean = int(ImageStat.Stat(image.convert("L")).mean[0] + 0.5)
        image = _towards(image, mean, _factor(self.contrast, rng))
        image = ImageEnhance.Color(image).enhance(_factor(self.saturation, rng))
        return image, label


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror left and right with the given probability."""

    probability: float = 0.5

    def __call__(
        self, image: Image.Image, label: Image.Image, rng: np.random.Generator
    ) -> tuple[Image.Image, Image.Image]:
        """Draws one number."""
        if rng.random() >= self.probability:
            return image, label
        mirror = Image.Transpose.FLIP_LEFT_RIGHT
        return image.transpose(mirror), label.transpose(mirror)


@dataclass(frozen=True)
class RandomScale:
    """Resize by one of `scales`, each as likely; sizes are cut to whole pixels.

    Image bilinear (Pillow's, which averages when it shrinks), label nearest.
    """

    scales: tuple[float, ...]

    def __call__(
        self, image: Image.Image, label: Image.Image, rng: np.random.Generator
    ) -> tuple[Image.Image, Image.Image]:
        """Draws one number."""
        scale = self.scales[choice(rng, len(self.scales))]
        return _resize(image, label, int(image.width * scale), int(image.height * scale))


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a window of size_hw = (height, width); a frame too small for it is enlarged first.

    As the authors do it, the factor follows the frame's shorter side and the last possible offset
    is never drawn. Where the window is longer in shape than the frame (it is not on Cityscapes:
    1024x512 out of 2:1 frames) the rest, on the right and below, is `fill` and void; their code
    would make it black, and of class 0.
    """

    size_hw: tuple[int, int]
    fill: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(
        self, image: Image.Image, label: Image.Image, rng: np.random.Generator
    ) -> tuple[Image.Image, Image.Image]:
        """Draws two numbers, none where the frame has the size of the window."""
        height, width = self.size_hw
        if image.size == (width, height):
            return image, label
        if image.width < width or image.height < height:
            image, label = self._enlarge(image, label)
        left = int(rng.random() * (image.width - width))
        top = int(rng.random() * (image.height - height))
        window = (left, top, left + width, top + height)
        return image.crop(window), label.crop(window)

    def _enlarge(self, image: Image.Image, label: Image.Image) -> tuple[Image.Image, Image.Image]:
        height, width = self.size_hw
        portrait = image.width < image.height
        scale = width / image.width if portrait else height / image.height
        w, h = int(scale * image.width + 1), int(scale * image.height + 1)
        image, label = _resize(image, label, w, h)
        size = max(w, width), max(h, height)
        return (
            laid_on(image, size, tuple(round(value) for value in self.fill)),
            laid_on(label, size, void_of(label)),
        )


@dataclass(frozen=True)
class FixedScale:
    """Resize by `scale`, cut to whole pixels: image bicubic, label nearest.

    Source: milesial/Pytorch-UNet, utils/data_loading.py.
    """

    scale: float

    def __call__(
        self, image: Image.Image, label: Image.Image, rng: np.random.Generator
    ) -> tuple[Image.Image, Image.Image]:
        """Draws nothing."""
        width, height = int(image.width * self.scale), int(image.height * self.scale)
        return _resize(image, label, width, height, Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class RandomShortSide:
    """Resize so that the shorter side has a whole number of pixels from [low, high], both included.

    Image bilinear, label nearest. Source: torchvision, references/segmentation/transforms.py,
    RandomResize.
    """

    low: int
    high: int

    def __call__(
        self, image: Image.Image, label: Image.Image, rng: np.random.Generator
    ) -> tuple[Image.Image, Image.Image]:
        """Draws one number."""
        short, size = min(image.size), self.low + choice(rng, self.high - self.low + 1)
        width, height = (size * side // short for side in image.size)
        return _resize(image, label, width, height)


@dataclass(frozen=True)
class ChosenShortSide:
    """Resize so that the shorter side has one of `sides` pixels, each as likely.

    Where the longer one would be beyond `longest` it has that. Image bilinear, label nearest; sizes
    are rounded. Source: detectron2, detectron2/data/transforms/augmentation_impl.py,
    ResizeShortestEdge.
    """

    sides: tuple[int, ...]
    longest: int

    def __call__(
        self, image: Image.Image, label: Image.Image, rng: np.random.Generator
    ) -> tuple[Image.Image, Image.Image]:
        """Draws one number."""
        side = float(self.sides[choice(rng, len(self.sides))])
        scale = side / min(image.size)
        width, height = (side if each == min(image.size) else scale * each for each in image.size)
        if max(width, height) > self.longest:
            scale = self.longest / max(width, height)
            width, height = width * scale, height * scale
        return _resize(image, label, int(width + 0.5), int(height + 0.5))


@dataclass(frozen=True)
class Normalisation:
    """Pixels of RGB, 0..255, to float32 [3, H, W] as the authors of a net feed it.

    Args:
        channels: "rgb" or "bgr", the order in which they go in, and of `mean` and `std`.
        pixel_range: 1 divides by 255 first; 255 leaves the range as it is.
        mean, std: subtracted, then divided by; in that range.

    Every step is rounded to float32 as torchvision's ToTensor and Normalize do, so the numbers
    equal theirs to the bit.
    """

    channels: str = "rgb"
    pixel_range: int = 1
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    def __call__(self, image: Any) -> np.ndarray:
        """Return `image`, a Pillow image of mode RGB or an array [H, W, 3], normalised."""
        pixels = np.asarray(image)
        pixels = pixels[..., ::-1] if self.channels == "bgr" else pixels
        if pixels.dtype != np.uint8:
            return np.ascontiguousarray(self._of(pixels).transpose(2, 0, 1))
        found = np.empty((3, *pixels.shape[:2]), np.float32)
        for channel, table in enumerate(self._table):
            np.take(table, pixels[..., channel], out=found[channel], mode="clip")
        return found

    @cached_property
    def _table(self) -> np.ndarray:
        """What becomes of each of the 256 values in each channel: float32 [3, 256].

        Looking up is eight times as fast as computing, and gives the same.
        """
        return np.ascontiguousarray(self._of(np.arange(256)[:, None].repeat(3, 1)).T)

    def _of(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels [..., 3], in the net's order of channels, normalised."""
        pixels = np.asarray(pixels, np.float32)
        scaled = pixels / np.float32(255) if self.pixel_range == 1 else pixels
        normalised: np.ndarray = scaled - np.asarray(self.mean, np.float32)
        return normalised / np.asarray(self.std, np.float32)

    def to_rgb(self, images: np.ndarray) -> np.ndarray:
        """Return normalised images [N, 3, H, W] as [N, H, W, 3], RGB, 0..1, for looking at."""
        pixels = images.transpose(0, 2, 3, 1) * np.array(self.std) + np.array(self.mean)
        pixels = pixels[..., ::-1] if self.channels == "bgr" else pixels
        return (pixels / self.pixel_range).clip(0, 1)

    @property
    def mean_color(self) -> tuple[float, float, float]:
        """The mean as a colour, RGB, 0..255: what becomes 0 by being normalised."""
        red, green, blue = (255 / self.pixel_range * value for value in self.mean)
        return (blue, green, red) if self.channels == "bgr" else (red, green, blue)


def _factor(strength: float, rng: np.random.Generator) -> float:
    return uniform(rng, max(1.0 - strength, 0.0), 1.0 + strength)


VALUES = Image.fromarray(np.arange(256, dtype=np.uint8)[None])


def _towards(image: Image.Image, value: int, factor: float) -> Image.Image:
    """Return `image` blended with one that is `value` throughout, which is `factor` 0."""
    table = Image.blend(Image.new("L", VALUES.size, value), VALUES, factor)
    return image.point(np.asarray(table).ravel().tolist() * 3)


def holds_ids(label: Any) -> bool:
    """Return whether a label holds ids of segments: Pillow's mode I, or an array of int32."""
    if isinstance(label, Image.Image):
        return label.mode == "I"
    return bool(label.dtype == np.int32)


def void_of(label: Any) -> int:
    """Return what a label has outside the image: 255 of classes, 0 of ids of segments."""
    return VOID_ID if holds_ids(label) else VOID


def laid_on(image: Image.Image, size: tuple[int, int], color: Any) -> Image.Image:
    """Return `image` at the upper left of one of `size` (width, height) that is all `color`."""
    if image.size == size:
        return image
    whole = Image.new(image.mode, size, color)
    whole.paste(image, (0, 0))
    return whole


def _resize(
    image: Image.Image,
    label: Image.Image,
    width: int,
    height: int,
    resampling: Image.Resampling = Image.Resampling.BILINEAR,
) -> tuple[Image.Image, Image.Image]:
    if width < 1 or height < 1:
        raise DataError(f"resize: {image.width} x {image.height} would become {width} x {height}")
    size = (width, height)
    return (
        image.resize(size, resampling),
        label.resize(size, Image.Resampling.NEAREST),
    )
