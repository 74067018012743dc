"""Transforms of an image together with the boxes and masks of its objects.

A transform takes (image uint8 [H, W, 3], objects, rng) and returns image and objects; `objects` are
those of `common.instances.sets.coco.InstanceSample`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from common.randomness import choice

Objects = dict[str, Any]
ObjectTransform = Callable[[np.ndarray, Objects, np.random.Generator], tuple[np.ndarray, Objects]]


@dataclass(frozen=True)
class ResizeEdges:
    """Resizes so that the shorter edge has one of `short_sides`, and the longer at most `longest`.

    Source: MMDetection 3.3.0, mmdet/datasets/transforms/transforms.py, Resize with keep_ratio, by
    mmcv's imrescale: the image bilinearly, masks by nearest neighbours, both by OpenCV.
    """

    short_sides: Sequence[int]
    longest: int

    def __call__(
        self, image: np.ndarray, objects: Objects, rng: np.random.Generator
    ) -> tuple[np.ndarray, Objects]:
        """Return image and objects at the new size."""
        number = choice(rng, len(self.short_sides)) if len(self.short_sides) > 1 else 0
        height, width = image.shape[:2]
        short, long = min(height, width), max(height, width)
        return resized(image, objects, min(self.longest / long, self.short_sides[number] / short))


@dataclass(frozen=True)
class ShrinkToFit:
    """Resizes an image that is larger than `size_hw` so that it fits."""

    size_hw: tuple[int, int]

    def __call__(
        self, image: np.ndarray, objects: Objects, rng: np.random.Generator
    ) -> tuple[np.ndarray, Objects]:
        """Return image and objects, as they are where they fit."""
        factor = min(most / size for most, size in zip(self.size_hw, image.shape[:2], strict=True))
        return (image, objects) if factor >= 1 else resized(image, objects, factor, self.size_hw)


@dataclass(frozen=True)
class FlipObjects:
    """Mirrors image, boxes and masks from left to right, with this probability."""

    probability: float

    def __call__(
        self, image: np.ndarray, objects: Objects, rng: np.random.Generator
    ) -> tuple[np.ndarray, Objects]:
        """Return image and objects, mirrored or as they are."""
        if rng.random() >= self.probability:
            return image, objects
        boxes = objects["boxes"].copy()
        boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
        masks = np.ascontiguousarray(objects["masks"][:, :, ::-1])
        mirror = np.ascontiguousarray(image[:, ::-1])
        return mirror, {**objects, "boxes": boxes, "masks": masks}


def resized(
    image: np.ndarray, objects: Objects, factor: float, most: Sequence[int] | None = None
) -> tuple[np.ndarray, Objects]:
    """Return image and objects `factor` times as large, of at most `most` (height, width)."""
    height, width = image.shape[:2]
    new = [int(length * factor + 0.5) for length in (height, width)]
    new = [max(1, min(pair)) for pair in zip(new, most or new, strict=True)]
    if new == [height, width]:
        return image, objects
    size = (new[1], new[0])
    small = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    masks = [cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) for mask in objects["masks"]]
    scales = np.array([new[1] / width, new[0] / height] * 2, np.float32)
    return small, {
        **objects,
        "boxes": objects["boxes"] * scales,
        "masks": np.array(masks, np.uint8).reshape(-1, *new),
    }


def training_transforms(
    size_hw: tuple[int, int] | None, short_sides: Sequence[int] | None, longest: int, flip: float
) -> tuple[ObjectTransform, ...]:
    """Return the augmentation; images larger than `size_hw`, where it is set, are shrunk to it."""
    fit = () if size_hw is None else (ShrinkToFit(size_hw),)
    edges = () if short_sides is None else (ResizeEdges(short_sides, longest),)
    return (*edges, *fit, FlipObjects(flip))
