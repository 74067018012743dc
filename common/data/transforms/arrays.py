"""Augmentation on float32 arrays by OpenCV, as semseg, kazuto1011 and wkentaro have it.

Each transform is called as (image, label, rng) and returns (image, label): image float32 [H, W, 3],
RGB, 0..255, never rounded in between; label uint8 [H, W], void 255, or int32 [H, W], ids of
segments, where void is 0. `AsArrays` comes first.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from PIL import Image

from common.data.transforms.images import holds_ids, void_of
from common.errors import DataError
from common.randomness import choice, uniform

ImageAndLabel = tuple[np.ndarray, np.ndarray]
Color = tuple[float, float, float]


@dataclass(frozen=True)
class AsArrays:
    """Pillow images to arrays."""

    def __call__(self, image: Any, label: Any, rng: np.random.Generator) -> ImageAndLabel:
        """Draws nothing."""
        return np.asarray(image, np.float32), as_label(label)


def as_label(label: Any) -> np.ndarray:
    """Return a label, an image or an array, as an array: uint8 [H, W], ids of segments int32."""
    return np.asarray(label, np.int32 if holds_ids(label) else np.uint8)


def _vanished(label: np.ndarray) -> DataError:
    return DataError(f"scale: an image of {label.shape[1]} x {label.shape[0]} would vanish")


@dataclass(frozen=True)
class UniformScale:
    """Resize by a factor from [low, high); sizes are rounded, image bilinear, label nearest.

    step: the factor is one of low, low + step, ... up to high, each as likely. whole: the image is
    resized in float64 and its values cut to whole numbers.
    Sources: hszhao/semseg, util/transform.py, RandScale; with `step` and `whole`
    bowenc0221/panoptic-deeplab, segmentation/data/transforms/transforms.py, RandomScale.

    Raises DataError where nothing would be left of an image.
    """

    low: float = 0.5
    high: float = 2.0
    step: float = 0.0
    whole: bool = False

    def __call__(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> ImageAndLabel:
        """Draws one number."""
        scale = self._scale(rng)
        if min(round(side * scale) for side in label.shape) < 1:
            raise _vanished(label)
        ways: dict[str, Any] = {"dsize": None, "fx": scale, "fy": scale}
        if self.whole:
            return _in_whole_numbers(image, label, ways)
        return (
            cv2.resize(image, interpolation=cv2.INTER_LINEAR, **ways),
            cv2.resize(label, interpolation=cv2.INTER_NEAREST, **ways),
        )

    def _scale(self, rng: np.random.Generator) -> float:
        if not self.step:
            return uniform(rng, self.low, self.high)
        return self.factors[choice(rng, len(self.factors))]

    @cached_property
    def factors(self) -> tuple[float, ...]:
        """The factors that there are, with a `step`."""
        count = int((self.high - self.low) / self.step + 1)
        return tuple(np.linspace(self.low, self.high, count).tolist())


def _in_whole_numbers(image: np.ndarray, label: np.ndarray, ways: dict[str, Any]) -> ImageAndLabel:
    """Resize in float64 and cut the image's values; `ways`: keywords of OpenCV's resize."""
    made = cv2.resize(image.astype(np.float64), interpolation=cv2.INTER_LINEAR, **ways)
    truth = cv2.resize(label, interpolation=cv2.INTER_NEAREST, **ways)
    return np.trunc(made).astype(np.float32), truth


@dataclass(frozen=True)
class Fitted:
    """Resize so that the shorter side has `shortest` pixels, or the longer one at most `longest`.

    Either side then grows to the next multiple of `factor` and one, or shrinks by a factor where
    that is beyond `longest`. Image bilinear, in float64, its values cut to whole numbers; label
    nearest. Source: bowenc0221/panoptic-deeplab,
    segmentation/data/transforms/pre_augmentation_transforms.py, Resize.
    """

    shortest: int
    longest: int
    factor: int

    def __call__(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> ImageAndLabel:
        """Draws nothing."""
        height, width = label.shape
        longest = self.longest - (self.longest - 1) % self.factor
        scale = self.shortest / min(height, width)
        sides = [int(side * scale) for side in (height, width)]
        if max(sides) > longest:
            sides = [int(side * (longest / max(height, width))) for side in (height, width)]
        grown = [side + (1 - side) % self.factor for side in sides]
        rows, columns = (side - self.factor * (side > longest) for side in grown)
        if min(rows, columns) < 1:
            raise _vanished(label)
        return _in_whole_numbers(image, label, {"dsize": (columns, rows)})


@dataclass(frozen=True)
class ChosenScale:
    """Resize by one of `scales`, each as likely; sizes are cut to whole pixels.

    Image bilinear, label Pillow's nearest.
    Source: kazuto1011/deeplab-pytorch, libs/datasets/base.py.

    Raises DataError where nothing would be left of an image.
    """

    scales: tuple[float, ...]

    def __call__(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> ImageAndLabel:
        """Draws one number."""
        scale = self.scales[choice(rng, len(self.scales))]
        size = (int(label.shape[1] * scale), int(label.shape[0] * scale))
        if min(size) < 1:
            raise _vanished(label)
        small = Image.fromarray(label).resize(size, Image.Resampling.NEAREST)
        return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.asarray(small)


@dataclass(frozen=True)
class Rotate:
    """With `probability`, rotate by an angle from [-degrees, degrees) about (W / 2, H / 2).

    What comes in from outside is `fill` and void.
    Source: hszhao/semseg, util/transform.py, RandRotate.
    """

    degrees: float
    fill: Color
    probability: float = 0.5

    def __call__(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> ImageAndLabel:
        """Draws one number, or two."""
        if rng.random() >= self.probability:
            return image, label
        height, width = label.shape
        angle = uniform(rng, -self.degrees, self.degrees)
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)

        def turned(array: np.ndarray, flags: int, value: Any) -> np.ndarray:
            return cv2.warpAffine(array, matrix, (width, height), flags=flags, borderValue=value)

        return (
            turned(image, cv2.INTER_LINEAR, self.fill),
            turned(label, cv2.INTER_NEAREST, void_of(label)),
        )


@dataclass(frozen=True)
class Blur:
    """With `probability`, a Gaussian blur over `size` pixels; the label stays.

    Source: hszhao/semseg, util/transform.py, RandomGaussianBlur.
    """

    size: int = 5
    probability: float = 0.5

    def __call__(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> ImageAndLabel:
        """Draws one number."""
        if rng.random() >= self.probability:
            return image, label
        return cv2.GaussianBlur(image, (self.size, self.size), 0), label


@dataclass(frozen=True)
class Flip:
    """With `probability`, mirror left and right."""

    probability: float = 0.5

    def __call__(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> ImageAndLabel:
        """Draws one number."""
        if rng.random() >= self.probability:
            return image, label
        return np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(label[:, ::-1])


@dataclass(frozen=True)
class PadAndCrop:
    """Cut out a window of size_hw = (height, width), each offset as likely.

    An image too small for it is padded with `fill` and void first: on all sides with `centred`
    (semseg), at a drawn place with `anywhere` (bowenc0221), else below and to the right
    (kazuto1011, torchvision).
    """

    size_hw: tuple[int, int]
    fill: Color
    centred: bool = False
    anywhere: bool = False

    def __call__(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> ImageAndLabel:
        """Draws two numbers; with `anywhere` two more where it pads."""
        height, width = self.size_hw
        rows, columns = max(height - label.shape[0], 0), max(width - label.shape[1], 0)
        if rows or columns:
            top, left = self._before(rows, columns, rng)
            sides = (top, rows - top, left, columns - left)
            image = cv2.copyMakeBorder(image, *sides, cv2.BORDER_CONSTANT, value=self.fill)
            label = cv2.copyMakeBorder(label, *sides, cv2.BORDER_CONSTANT, value=void_of(label))
        top = choice(rng, label.shape[0] - height + 1)
        left = choice(rng, label.shape[1] - width + 1)
        window = (slice(top, top + height), slice(left, left + width))
        return image[window], label[window]

    def _before(self, rows: int, columns: int, rng: np.random.Generator) -> tuple[int, int]:
        """Return how many of the rows and columns that are added come before the image."""
        if self.anywhere:
            return choice(rng, rows + 1), choice(rng, columns + 1)
        return (rows // 2, columns // 2) if self.centred else (0, 0)
