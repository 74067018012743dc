"""The authors' augmentation of STDC-Seg, on Pillow images, and the way to arrays.

Each transform takes plain values, is called as (image, label, rng) and returns (image, label):
image of mode RGB, label of mode L. Source of all of it: STDC-Seg, transform.py; the order and the
numbers: cityscapes.py and train.py. The order matters: contrast depends on the mean of the whole
frame, so jitter must come before the crop.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from common.errors import ConfigError, DataError
from common.randomness import choice, uniform

Transform = Callable[
    [Image.Image, Image.Image, np.random.Generator], tuple[Image.Image, Image.Image]
]

# ImageNet statistics of RGB in 0..1; authors' cityscapes.py, to_tensor.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Authors' train.py, randomscale.
STDC_SCALES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25, 1.375, 1.5)


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast, saturation: always all three, in this order.

    Each factor is uniform in [max(1 - strength, 0), 1 + strength]. The label is untouched.
    """

    brightness: float
    contrast: float
    saturation: float

    def __call__(
        self, image: Image.Image, label: Image.Image, rng: np.random.Generator
    ) -> tuple[Image.Image, Image.Image]:
        """Draws three numbers, also where a strength is 0."""
        image = ImageEnhance.Brightness(image).enhance(_factor(self.brightness, rng))
        image = ImageEnhance.Contrast(image).enhance(_factor(self.contrast, rng))
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
    is never drawn. Their code would pad where the window is wider in shape than the frame (it is
    not on Cityscapes: 1024x512 out of 2:1 frames); here that is an error.
    """

    size_hw: tuple[int, int]

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
        if w < width or h < height:
            raise DataError(
                f"crop: a window of {width} x {height} (width x height) is longer in shape than "
                f"the frame of {image.width} x {image.height} and would need padding; choose a "
                "window whose ratio of sides is nearer to the frame's"
            )
        return _resize(image, label, w, h)


TRANSFORMS: dict[str, type] = {
    "color_jitter": ColorJitter,
    "horizontal_flip": HorizontalFlip,
    "random_scale": RandomScale,
    "random_crop": RandomCrop,
}


def stdc_augmentation(
    crop_hw: tuple[int, int], scales: Sequence[float] = STDC_SCALES
) -> tuple[Transform, ...]:
    """The authors' training augmentation, in their order; theirs is crop_hw = (512, 1024)."""
    return (
        ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5),
        HorizontalFlip(probability=0.5),
        RandomScale(tuple(scales)),
        RandomCrop(crop_hw),
    )


def build_transforms(rows: Sequence[Mapping[str, Any]]) -> tuple[Transform, ...]:
    """Transforms from a config: [{"name": "random_crop", "size_hw": [512, 1024]}, ...], in order.

    Raises:
        ConfigError: an unknown name, an unknown or a missing argument.
    """
    built: list[Transform] = []
    for row in rows:
        name = row.get("name")
        if name not in TRANSFORMS:
            raise ConfigError(f"transform: expected one of {', '.join(TRANSFORMS)}, got {name!r}")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k != "name"}
        try:
            built.append(TRANSFORMS[name](**values))
        except TypeError as error:
            raise ConfigError(f"transform {name}: {error}") from error
    return tuple(built)


def to_array(
    image: Image.Image,
    mean: tuple[float, float, float] = MEAN,
    std: tuple[float, float, float] = STD,
) -> np.ndarray:
    """(image / 255 - mean) / std: float32 [3, H, W], RGB.

    Every step is rounded to float32 as torchvision's ToTensor and Normalize do, so the numbers
    equal theirs to the bit.
    """
    unit = np.asarray(image, np.float32) / np.float32(255)
    normalised = (unit - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))


def _factor(strength: float, rng: np.random.Generator) -> float:
    return uniform(rng, max(1.0 - strength, 0.0), 1.0 + strength)


def _resize(
    image: Image.Image, label: Image.Image, width: int, height: int
) -> tuple[Image.Image, Image.Image]:
    if width < 1 or height < 1:
        raise DataError(f"resize: {image.width} x {image.height} would become {width} x {height}")
    size = (width, height)
    return (
        image.resize(size, Image.Resampling.BILINEAR),
        label.resize(size, Image.Resampling.NEAREST),
    )
