"""Geometry that touches only the pixels of the crop: what `order: fast` puts first.

Each takes Pillow images or arrays. Draws are those of the steps that it stands for.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from common.data.transforms.arrays import Color, ImageAndLabel, as_label
from common.data.transforms.images import laid_on, void_of
from common.errors import DataError
from common.randomness import choice, uniform
from common.shapes import nearest_places


@dataclass(frozen=True)
class ScaledCrop:
    """`RandomScale` and `RandomCrop` of STDC in one: only the window is resized.

    The same draws, sizes, window and label. A pixel may differ by rounding, as Pillow resizes a
    part of the frame instead of the whole. A frame too small for the window is enlarged in one
    resize where they make two.
    """

    scales: tuple[float, ...]
    size_hw: tuple[int, int]
    fill: Color = (0.0, 0.0, 0.0)

    def __call__(
        self, image: Image.Image, label: Image.Image, rng: np.random.Generator
    ) -> tuple[Image.Image, Image.Image]:
        """Draws one number, and two unless the scaled frame has the size of the window.

        Raises DataError where nothing would be left of an image.
        """
        scale = self.scales[choice(rng, len(self.scales))]
        size = (int(image.width * scale), int(image.height * scale))
        if min(size) < 1:
            raise DataError(f"scale: an image of {image.width} x {image.height} would vanish")
        height, width = self.size_hw
        left = top = 0
        if size != (width, height):
            size = self._enlarged(size)
            left = int(rng.random() * (max(size[0], width) - width))
            top = int(rng.random() * (max(size[1], height) - height))
        shown = (min(width, size[0]), min(height, size[1]))
        x, y = image.width / size[0], image.height / size[1]
        ends = (min((left + shown[0]) * x, image.width), min((top + shown[1]) * y, image.height))
        box = (left * x, top * y, *ends)
        part = image.resize(shown, Image.Resampling.BILINEAR, box=box)
        rows = nearest_places(label.height, size[1])[top : top + shown[1]]
        columns = nearest_places(label.width, size[0])[left : left + shown[0]]
        truth = Image.fromarray(np.asarray(label)[rows[:, None], columns])
        fill = tuple(round(value) for value in self.fill)
        return laid_on(part, (width, height), fill), laid_on(truth, (width, height), void_of(label))

    def _enlarged(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size (width, height) that `RandomCrop` gives a frame of `size`."""
        height, width = self.size_hw
        if size[0] >= width and size[1] >= height:
            return size
        factor = width / size[0] if size[0] < size[1] else height / size[1]
        return int(factor * size[0] + 1), int(factor * size[1] + 1)


@dataclass(frozen=True)
class Warp:
    """Flip, scale, rotation, padding and crop in one resampling, bilinear; the label nearest.

    Args:
        size_hw: of the window, height and width.
        fill: what comes in from outside, beside void.
        scale_range, scales: a range of factors, or factors each as likely; neither: 1.
        short_side: instead, from where to where the shorter side's pixels are, both included.
        short_sides, longest: instead, its pixels, each as likely, and the most of the longer side.
        degrees, rotate: an angle from [-degrees, degrees), with this probability.
        flip: probability of the mirror image.
        centred, anywhere: where the scaled frame is smaller than the window it lies in its middle,
            or at a drawn place; else at the upper left.

    The window lies anywhere in the scaled frame, as in `PadAndCrop`; the frame turns about its
    middle, as in `Rotate`. uint8 stays uint8 until the end, so that values are rounded once.
    """

    size_hw: tuple[int, int]
    fill: Color
    scale_range: tuple[float, float] | None = None
    scales: tuple[float, ...] | None = None
    degrees: float = 0.0
    rotate: float = 0.5
    flip: float = 0.0
    centred: bool = False
    short_side: tuple[int, int] | None = None
    short_sides: tuple[int, ...] | None = None
    longest: int = 0
    anywhere: bool = False

    def __call__(self, image: Any, label: Any, rng: np.random.Generator) -> ImageAndLabel:
        """Draws a number for each of flip, scale, rotation and its angle that is on, and two."""
        pixels, classes = np.asarray(image), as_label(label)
        inverse = np.linalg.inv(self.matrix(classes.shape, rng))[:2]
        made = self._warped(pixels, inverse, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        truth = self._nearest(classes, inverse, void_of(classes))
        made = made.astype(np.float32)
        if self._leaves(classes.shape, inverse):
            there = self._nearest(np.ones(classes.shape, np.uint8), inverse, 0)
            made[there == 0] = self.fill
        return made, truth

    def _nearest(self, array: np.ndarray, inverse: np.ndarray, outside: int) -> np.ndarray:
        return self._warped(array, inverse, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, outside)

    def _warped(
        self, array: np.ndarray, inverse: np.ndarray, how: int, border: int, outside: int = 0
    ) -> np.ndarray:
        """Return the window of `array`; `inverse` says where its pixels come from."""
        size, flags = (self.size_hw[1], self.size_hw[0]), how | cv2.WARP_INVERSE_MAP
        found: np.ndarray = cv2.warpAffine(
            array, inverse, size, flags=flags, borderMode=border, borderValue=outside
        )
        return found

    def _leaves(self, frame_hw: tuple[int, ...], inverse: np.ndarray) -> bool:
        """Return whether the window reaches beyond the frame."""
        height, width = self.size_hw
        corners = np.array([[-0.5, -0.5, 1], [width - 0.5, -0.5, 1], [-0.5, height - 0.5, 1]])
        corners = np.vstack([corners, [width - 0.5, height - 0.5, 1]])
        places = corners @ inverse.T + 0.5
        return bool((places < -1e-6).any() or (places > np.array(frame_hw[::-1]) + 1e-6).any())

    def matrix(self, size_hw: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return where a pixel (x, y, 1) of a frame of this size comes to lie: float64 [3, 3].

        Pixels are at whole numbers; a scale holds their edges, as OpenCV's resize does.
        """
        height, width = size_hw
        found = np.eye(3)
        if self.flip and rng.random() < self.flip:
            found = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
        scale = self._scale(size_hw, rng)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        x, y = size[0] / width, size[1] / height
        found = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]) @ found
        if self.degrees and rng.random() < self.rotate:
            angle = uniform(rng, -self.degrees, self.degrees)
            turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), angle, 1)
            found = np.vstack([turn, [0, 0, 1]]) @ found
        left, top = (self._offset(size[i], self.size_hw[1 - i], rng) for i in (0, 1))
        return np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]]) @ found

    def _scale(self, size_hw: tuple[int, ...], rng: np.random.Generator) -> float:
        if self.short_side:
            low, high = self.short_side
            return (low + choice(rng, high - low + 1)) / min(size_hw)
        if self.short_sides:
            side = self.short_sides[choice(rng, len(self.short_sides))]
            return min(side / min(size_hw), self.longest / max(size_hw))
        if self.scales:
            return self.scales[choice(rng, len(self.scales))]
        return uniform(rng, *self.scale_range) if self.scale_range else 1.0

    def _offset(self, side: int, window: int, rng: np.random.Generator) -> int:
        """Return where the window begins in a frame of that side; negative: padded before it."""
        if side >= window:
            return choice(rng, side - window + 1)
        drawn = choice(rng, window - side + 1)
        return -drawn if self.anywhere else -((window - side) // 2) if self.centred else 0
