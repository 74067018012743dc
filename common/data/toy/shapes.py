"""Rendered shapes as COCO lays out instances: polygons, crowds, images of nothing."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from common.randomness import choice, generator, uniform

# Category ids have gaps, and their order is not that of the names in configs: as in COCO.
CATEGORIES = {7: "disc", 2: "square", 11: "triangle"}
COLORS = {7: (208, 70, 60), 2: (70, 150, 80), 11: (70, 90, 200)}
CORNERS = {7: 32, 2: 4, 11: 3}
MOST, TRIES = 6, 20  # shapes of an image, and places that are tried for each
LEAST_SIZE, MOST_SIZE = 0.09, 0.24  # radius as a share of the shorter side
EMPTY, CROWD = 12, 6  # one image in so many shows nothing, and one a crowd of discs
QUALITY = 95  # of a JPEG


class ShapeFrame(NamedTuple):
    """An image uint8 [H, W, 3], RGB, and rows of its annotations without ids."""

    image: np.ndarray
    rows: list[dict[str, Any]]


def render_shapes(seed: int, split: int, index: int, size_hw: tuple[int, int]) -> ShapeFrame:
    """Return frame `index` of split number `split`; it depends on these and the size alone."""
    rng = generator(seed, "toy shapes", split, index)
    image = _ground(rng, size_hw)
    taken = np.zeros(size_hw, np.uint8)
    rows: list[dict[str, Any]] = []
    if choice(rng, EMPTY) == 0:
        return ShapeFrame(_grained(image, rng), rows)
    if choice(rng, CROWD) == 0:
        rows.append(_crowd(image, taken, rng))
    for _ in range(1 + choice(rng, MOST)):
        category = list(CATEGORIES)[choice(rng, len(CATEGORIES))]
        if (polygon := _placed(taken, category, rng)) is not None:
            _paint(image, polygon, category, rng)
            rows.append(_row(polygon, category))
    return ShapeFrame(_grained(image, rng), rows)


def _ground(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """Return a background of soft greys."""
    small = 90 + 110 * rng.random((4, 6, 3)) * np.array([1, 1, 0.9])
    grey = (small.mean(2, keepdims=True) * 2 + small) / 3
    return cv2.resize(grey.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def _grained(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noisy = image + 16 * (rng.random(image.shape) - 0.5)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _placed(taken: np.ndarray, category: int, rng: np.random.Generator) -> np.ndarray | None:
    """Return a polygon float64 [corners, 2], XY pixels, where nothing is yet; None: no room.

    What it covers is taken from then on.
    """
    height, width = taken.shape
    for _ in range(TRIES):
        radius = uniform(rng, LEAST_SIZE, MOST_SIZE) * min(height, width)
        centre = [uniform(rng, 0.6 * radius, length - 0.6 * radius) for length in (width, height)]
        turn = uniform(rng, 0, 2 * math.pi)
        angles = turn + 2 * math.pi * np.arange(CORNERS[category]) / CORNERS[category]
        ring = centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        polygon = np.clip(ring, 0, [width - 1, height - 1]).round(2)
        own = np.zeros_like(taken)
        cv2.fillPoly(own, [np.rint(polygon).astype(np.int32)], 1)
        if not (own & cv2.dilate(taken, np.ones((3, 3), np.uint8))).any():
            taken |= own
            return np.asarray(polygon)
    return None


def _paint(image: np.ndarray, polygon: np.ndarray, category: int, rng: np.random.Generator) -> None:
    color = np.array(COLORS[category]) + 50 * (rng.random(3) - 0.5)
    cv2.fillPoly(image, [np.rint(polygon).astype(np.int32)], color.tolist(), cv2.LINE_AA)


def _row(polygon: np.ndarray, category: int) -> dict[str, Any]:
    """Return the annotation of a polygon: area by the shoelace formula, box of its corners."""
    x, y = polygon.T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    low, high = polygon.min(0), polygon.max(0)
    return {
        "category_id": category,
        "segmentation": [polygon.ravel().tolist()],
        "area": round(area, 2),
        "bbox": np.round([*low, *(high - low)], 2).tolist(),
        "iscrowd": 0,
    }


def _crowd(image: np.ndarray, taken: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Draw a heap of small discs, and return what is annotated of all of them together."""
    height, width = taken.shape
    own, disc = np.zeros_like(taken), next(iter(CATEGORIES))
    radius = max(2, round(0.04 * min(height, width)))
    left, top = (uniform(rng, 0.1, 0.6) * length for length in (width, height))
    for _ in range(8):
        x, y = (round(start + uniform(rng, 0, 6 * radius)) for start in (left, top))
        color = (np.array(COLORS[disc]) + 50 * (rng.random(3) - 0.5)).tolist()
        cv2.circle(image, (x, y), radius, color, -1, cv2.LINE_AA)
        cv2.circle(own, (x, y), radius, 1, -1)
    taken |= own
    rows, columns = (np.flatnonzero(own.any(axis)) for axis in (1, 0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {
        "category_id": disc,
        "segmentation": {"size": [height, width], "counts": run_lengths(own)},
        "area": int(own.sum()),
        "bbox": [int(length) for length in box],
        "iscrowd": 1,
    }


def run_lengths(mask: np.ndarray) -> list[int]:
    """Return how often 0 and 1 repeat in `mask` [H, W], column after column, zeros first."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs: list[int] = np.diff([0, *edges.tolist(), len(flat)]).tolist()
    return [0, *runs] if flat[0] else runs


def write_shapes(root: Path, split: str, frames: list[tuple[int, ShapeFrame]]) -> None:
    """Write the images of a split, (id, frame), and their annotation file.

    Its annotations stand in another order than its images, which COCO does not promise either.
    """
    folder = root / f"{split}2017"
    folder.mkdir(parents=True)
    images, annotations = [], []
    for number, frame in frames:
        name = f"{number:012d}.jpg"
        Image.fromarray(frame.image).save(folder / name, quality=QUALITY)
        height, width = frame.image.shape[:2]
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        annotations += [{"image_id": number, **row} for row in frame.rows]
    numbered = [{"id": place, **row} for place, row in enumerate(annotations, start=1)]
    about = {
        "images": images,
        "annotations": numbered[::-1],
        "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
    }
    path = root / "annotations" / f"instances_{split}2017.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(about) + "\n")
