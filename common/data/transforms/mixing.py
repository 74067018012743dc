"""Augmentation that changes colours, or lays several frames together; on float32 arrays.

Called and returning as the transforms of `arrays.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from common.data.transforms.arrays import Color, ImageAndLabel
from common.data.transforms.images import VOID, holds_ids
from common.errors import DataError
from common.randomness import choice, uniform

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue; ITU-R 601, as Pillow's


@dataclass(frozen=True)
class Jitter:
    """With `probability`: brightness, contrast, saturation and hue, in this order.

    The first three are factors, uniform in [max(1 - strength, 0), 1 + strength]; a hue is turned by
    a share of the circle from [-hue, hue). What is 0 is not done and draws nothing. After each step
    values are cut to 0..255. Contrast is about the mean grey of what it is given.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    probability: float = 1.0

    def __call__(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> ImageAndLabel:
        """Draws one number, and one for each strength."""
        if rng.random() >= self.probability:
            return image, label
        image = np.asarray(image, np.float32)
        if self.brightness:
            image = cut(image * _factor(self.brightness, rng))
        if self.contrast:
            mean = float((image @ GREY).mean(dtype=np.float64))
            image = blended(image, np.float32(mean), _factor(self.contrast, rng))
        if self.saturation:
            image = blended(image, (image @ GREY)[..., None], _factor(self.saturation, rng))
        if self.hue:
            image = turned(image, uniform(rng, -self.hue, self.hue))
        return image, label


@dataclass(frozen=True)
class Mosaic:
    """With `probability`, four frames about a drawn centre, of the size of the first one.

    The centre lies in the middle half of either side. The frame itself fills the upper left, three
    drawn ones the rest, each by a window of it at a drawn place, at its own scale. What a small
    frame does not fill is `fill` and void. Source: Bochkovskiy et al. (YOLOv4, arXiv 2004.10934,
    section 3.3); there the frames are scaled, too.
    """

    takes_others: ClassVar[bool] = True
    fill: Color
    probability: float = 0.5

    def __call__(
        self,
        image: Any,
        label: Any,
        rng: np.random.Generator,
        other: Callable[[], tuple[Any, Any]],
    ) -> ImageAndLabel:
        """Draws one number, or two, and for every frame its place, and for others which.

        other: returns a drawn frame of the data set, image and label.
        """
        if holds_ids(label):
            raise DataError(
                "mosaic: lays several frames together, and segments of several frames have no one "
                "list; set data.augmentation.mosaic: 0"
            )
        if rng.random() >= self.probability:
            return image, label
        image, label = np.asarray(image), np.asarray(label)
        height, width = label.shape
        row, column = (int(uniform(rng, 0.25, 0.75) * side) for side in (height, width))
        whole = np.empty((height, width, 3), np.float32)
        classes = np.full((height, width), VOID, np.uint8)
        whole[:] = self.fill
        frame = (image, label)
        for number, rows in enumerate((slice(0, row), slice(row, height))):
            for columns in (slice(0, column), slice(column, width)):
                if number or columns.start:
                    frame = other()
                part, truth = _window(*frame, (rows, columns), rng)
                there = (
                    slice(rows.start, rows.start + len(truth)),
                    slice(columns.start, columns.start + truth.shape[1]),
                )
                whole[there], classes[there] = part, truth
        return whole, classes


def cut(image: np.ndarray) -> np.ndarray:
    """Return `image` with values in 0..255."""
    return np.clip(image, 0, 255, out=image)


def blended(image: np.ndarray, grey: Any, factor: float) -> np.ndarray:
    """Return `grey` plus `factor` times what `image` differs from it, cut to 0..255."""
    return cut(grey + (image - grey) * np.float32(factor))


def turned(image: np.ndarray, share: float) -> np.ndarray:
    """Return `image` with its hues turned by a share of the circle."""
    colours = cv2.cvtColor(image / np.float32(255), cv2.COLOR_RGB2HSV)
    colours[..., 0] = (colours[..., 0] + np.float32(360 * share)) % np.float32(360)
    return cut(cv2.cvtColor(colours, cv2.COLOR_HSV2RGB) * np.float32(255))


def _factor(strength: float, rng: np.random.Generator) -> float:
    return uniform(rng, max(1.0 - strength, 0.0), 1.0 + strength)


def _window(
    image: Any, label: Any, place: tuple[slice, slice], rng: np.random.Generator
) -> ImageAndLabel:
    """Return what of a frame goes to `place`, which is larger where the frame is smaller."""
    pixels, classes = np.asarray(image), np.asarray(label, np.uint8)
    window = []
    for side, part in zip(classes.shape, place, strict=True):
        length = min(side, part.stop - part.start)
        start = choice(rng, side - length + 1)
        window.append(slice(start, start + length))
    return pixels[tuple(window)], classes[tuple(window)]
