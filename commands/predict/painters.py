"""What is written of a photo's prediction: pictures of classes, or of segments and their list."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from commands.predict import painting
from commands.predict.segments import sheet
from common.documents import write_text
from common.panoptic.files import category_rows, segments_in
from common.panoptic.ids import ids_to_rgb
from common.panoptic.pictures import Segments, overlay


class Painter(Protocol):
    """Knows what a prediction means: numbers [H, W], or objects."""

    def largest(self, found: Any) -> int:
        """Return the largest class of a prediction."""
        ...

    def shares(self, found: Any) -> dict[str, float]:
        """Return the share of the pixels by name of the classes that occur, the largest first."""
        ...

    def picture(self, kind: str, photo: np.ndarray, found: Any) -> Image.Image:
        """Return a picture of a kind, "ids", "overlay" or "sheet"; `photo` is uint8 [H, W, 3]."""
        ...

    def frame(self, kind: str, photo: np.ndarray, found: Any) -> np.ndarray:
        """Return a frame of a video, uint8 [H, W, 3]: colours alone for "ids", else an overlay."""
        ...

    def note(self, photo: Path, outputs: Mapping[str, Path], found: Any) -> None:
        """Take note of a photo that was written."""
        ...

    def finish(self, folder: Path) -> list[Path]:
        """Write what is of all photos together; return its files."""
        ...


@dataclass(frozen=True)
class ClassPainter:
    """Of semantic nets: a prediction holds classes. colors: uint8 [256, 3] RGB, by class."""

    names: Sequence[str]
    colors: np.ndarray

    def largest(self, found: np.ndarray) -> int:
        """Return the largest class of a prediction."""
        return int(found.max())

    def shares(self, found: np.ndarray) -> dict[str, float]:
        """Return the share of the pixels by name."""
        return painting.shares_of(found, self.names)

    def picture(self, kind: str, photo: np.ndarray, found: np.ndarray) -> Image.Image:
        """Return a palette PNG, an overlay, or a sheet with a legend."""
        if kind == "ids":
            return painting.palette_png(found, self.colors)
        if kind == "overlay":
            return Image.fromarray(painting.overlay(photo, found, self.colors))
        return painting.sheet(photo, found, self.colors, self.names)

    def frame(self, kind: str, photo: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Return colours of the classes, or an overlay."""
        if kind == "ids":
            return painting.painted(found, self.colors)
        return painting.overlay(photo, found, self.colors)

    def note(self, photo: Path, outputs: Mapping[str, Path], found: np.ndarray) -> None:
        """Nothing is known beside the pictures."""

    def finish(self, folder: Path) -> list[Path]:
        """Nothing is of all photos together."""
        return []


@dataclass(frozen=True)
class SegmentPainter:
    """Of panoptic nets: a prediction holds class * divisor + number, void negative.

    The PNG of ids is one of panopticapi, and `panoptic.json` lists the segments of all of them.
    things: the classes that are things. categories: the set's own number of every class.
    """

    names: Sequence[str]
    colors: np.ndarray
    things: Sequence[int]
    divisor: int
    categories: Sequence[int]
    listed: list[tuple[Path, Path, list[dict[str, int]]]] = field(default_factory=list)

    def _segments(self, found: np.ndarray) -> Segments:
        return Segments(found, self.divisor, self.things)

    def largest(self, found: np.ndarray) -> int:
        """Return the largest class of a prediction."""
        return int(found.max()) // self.divisor

    def shares(self, found: np.ndarray) -> dict[str, float]:
        """Return the share of the pixels by name."""
        return self._segments(found).shares(self.names)

    def picture(self, kind: str, photo: np.ndarray, found: np.ndarray) -> Image.Image:
        """Return a PNG of ids, an overlay with outlines, or a sheet with a legend."""
        if kind == "ids":
            return Image.fromarray(ids_to_rgb(self._ids(found)[0]))
        if kind == "overlay":
            return Image.fromarray(overlay(photo, self._segments(found), self.colors))
        return sheet(photo, self._segments(found), self.colors, self.names)

    def frame(self, kind: str, photo: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Return colours of the segments, or an overlay."""
        if kind == "ids":
            return self._segments(found).painted(self.colors)
        return overlay(photo, self._segments(found), self.colors)

    def note(self, photo: Path, outputs: Mapping[str, Path], found: np.ndarray) -> None:
        """List the segments of a photo whose ids are written."""
        if "ids" in outputs:
            self.listed.append((photo, outputs["ids"], self._ids(found)[1]))

    def finish(self, folder: Path) -> list[Path]:
        """Write `panoptic.json`, where there are ids."""
        if not self.listed:
            return []
        annotations = [
            {
                "image_id": png.relative_to(folder).with_suffix("").as_posix(),
                "file_name": png.relative_to(folder).as_posix(),
                "photo": str(photo),
                "segments_info": rows,
            }
            for photo, png, rows in self.listed
        ]
        path = folder / "panoptic.json"
        classes = category_rows(self.categories, self.names, self.things, self.colors)
        document = {"annotations": annotations, "categories": classes}
        write_text(path, json.dumps(document, ensure_ascii=False))
        return [path]

    def _ids(self, found: np.ndarray) -> tuple[np.ndarray, list[dict[str, int]]]:
        return segments_in(found, self.divisor, self.categories)
