"""What is written of a photo's objects: masks, boxes, names and scores, and their list."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from commands.predict import painting
from common.documents import write_text
from common.evaluation.instances.pictures import objects_on, painted_objects, segments_of
from common.evaluation.instances.scores import rows_of
from common.instances.post import PhotoObjects

FILE = "instances.json"
SHOWN = 0.3  # the least score of an object that is drawn; the JSON has all
INK, PAPER = (255, 255, 255), (30, 30, 30)


@dataclass(frozen=True)
class ObjectPainter:
    """Of nets of instances: a prediction is `PhotoObjects`, of which those above 0.3 are drawn.

    `instances.json` lists all objects of all photos as COCO's results do.
    names, colors: of the classes. categories: the set's own number of every class.
    """

    names: Sequence[str]
    colors: np.ndarray
    categories: Sequence[int]
    listed: list[dict[str, Any]] = field(default_factory=list)

    def largest(self, found: PhotoObjects) -> int:
        """Return the largest class of a prediction."""
        return int(max(found.labels, default=0))

    def shares(self, found: PhotoObjects) -> dict[str, float]:
        """Return the share of the pixels by name of the classes that are drawn, largest first."""
        shown = _shown(found)
        laid = segments_of(shown, found.masks.shape[1:]) if len(shown.labels) else None
        return laid.shares(self.names) if laid else {}

    def picture(self, kind: str, photo: np.ndarray, found: PhotoObjects) -> Image.Image:
        """Return numbers of objects (16 bits, 1 is the best), an overlay, or one with a legend."""
        if kind == "ids":
            return Image.fromarray(_numbers(found, photo.shape[:2]))
        laid = Image.fromarray(self.frame(kind, photo, found))
        if kind == "overlay":
            return laid
        counts: dict[str, int] = {}
        for label in _shown(found).labels.tolist():
            counts[self.names[label]] = counts.get(self.names[label], 0) + 1
        lines = [(self.names.index(n), f"{n} x {k}") for n, k in sorted(counts.items())]
        return painting.side_by_side(photo, laid, lines, self.colors)

    def frame(self, kind: str, photo: np.ndarray, found: PhotoObjects) -> np.ndarray:
        """Return masks and boxes on black for "ids", else on the photo, with names and scores."""
        shown = _shown(found)
        if kind == "ids":
            return painted_objects(shown, (photo.shape[0], photo.shape[1]), self.colors)
        laid = Image.fromarray(objects_on(photo, shown, self.colors))
        draw, font = ImageDraw.Draw(laid), painting.font()
        for label, score, box in zip(shown.labels, shown.scores, shown.boxes, strict=True):
            text = f"{self.names[label]} {score:.2f}"
            place = (float(box[0]), max(float(box[1]) - painting.TEXT - 2, 0.0))
            draw.rectangle(draw.textbbox(place, text, font=font), fill=PAPER)
            draw.text(place, text, fill=INK, font=font)
        return np.array(laid)

    def note(self, photo: Path, outputs: Mapping[str, Path], found: PhotoObjects) -> None:
        """List the objects of a photo; its name, a number where it is one, is its id."""
        image_id = int(photo.stem) if photo.stem.isdecimal() else photo.stem
        for row in rows_of(found, image_id):
            self.listed.append(row | {"category_id": self.categories[row["category_id"]]})

    def finish(self, folder: Path) -> list[Path]:
        """Write `instances.json`."""
        path = folder / FILE
        write_text(path, json.dumps(self.listed, ensure_ascii=False))
        return [path]


def _shown(found: PhotoObjects) -> PhotoObjects:
    """Return the objects that are drawn."""
    kept = found.scores >= SHOWN
    return PhotoObjects(*(part[kept] for part in found))


def _numbers(found: PhotoObjects, size_hw: Sequence[int]) -> np.ndarray:
    """Return the place of the best object of each pixel, from 1, 0 without one: uint16 [H, W]."""
    laid = np.zeros(size_hw, np.uint16)
    for number, mask in reversed(list(enumerate(found.masks, start=1))):
        laid[mask] = number
    return laid
