"""What panoptic sets share: frames with a map of ids and a list of segments, read and checked."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from common.data.photo_set import some
from common.data.photos import require_one_size
from common.data.transforms.images import VOID
from common.errors import DataError, SizeMismatchError, UnknownLabelsError, UnpairedError
from common.panoptic.ids import read_ids
from common.panoptic.segments import (
    PanopticSample,
    Segment,
    areas_of,
    require_agreement,
    semantic_of,
    some_ids,
)


class PanopticFrame(NamedTuple):
    """An image, the PNG of its ids, and what an annotation file lists of it.

    image_id: what annotation files call the image. annotations: the file that lists its segments;
    None: there is none, and the ids themselves say it. size_hw: what that file says. listed: int64
    [segments, 3], a segment a row: id, category as the file has it, 1 of a crowd.
    """

    name: str
    image: Path
    label: Path
    image_id: int | str
    annotations: Path | None = None
    size_hw: tuple[int, int] | None = None
    listed: np.ndarray | None = None


class PanopticSet:
    """A split of a panoptic set. A subclass finds its frames and calls `_hold`.

    It is a set of semantic labels too: `read` gives the class of every pixel.

    Attributes:
        class_names, num_classes, colors, ignore_index: as of every set.
        things: the classes that are things; all others are stuff.
        class_of: the class of every category of annotation files.
        frames: in their order.
    """

    class_names: tuple[str, ...]
    num_classes: int
    colors: np.ndarray
    things: tuple[int, ...]
    class_of: Mapping[int, int]
    ignore_index = VOID
    frames: tuple[PanopticFrame, ...]
    root: Path
    split: str

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """Image (mode RGB) and the class of every pixel (mode L: train ids, void 255).

        Raises as `read_panoptic`.
        """
        frame, ids = self.frames[index], self.read_ids(index)
        return self._image(frame, ids), self._classes(index, ids)

    def read_label(self, index: int) -> Image.Image:
        """Return the class of every pixel alone; see `read`."""
        return self._classes(index, self.read_ids(index))

    def read_panoptic(self, index: int) -> PanopticSample:
        """Return an image and its segments.

        Raises:
            DamagedFileError: a file is unreadable.
            SizeMismatchError: of differing sizes. Both are named.
            SegmentsError: ids that are not listed, or a listed segment without pixels.
            UnknownLabelsError: a category outside the table.
        """
        frame, ids = self.frames[index], self.read_ids(index)
        segments = self.segments_in(index, ids)
        return PanopticSample(np.array(self._image(frame, ids)), ids, segments)

    def read_ids(self, index: int) -> np.ndarray:
        """Return the ids of a frame, uint32 [H, W], checked; raises as `read_panoptic`."""
        frame = self.frames[index]
        assert frame.listed is not None, "a set without lists says itself what its ids are"
        ids = read_ids(frame.label)
        files = (str(frame.label), str(frame.annotations))
        require_agreement(ids, frame.listed[:, 0].tolist(), files)
        self._require_known(frame, ids)
        return ids

    def segments_in(self, index: int, ids: np.ndarray) -> list[Segment]:
        """Return the segments of a frame that have pixels in `ids`, which may be a part of its map.

        ids: whole numbers [H, W], as `read_ids` gives them, cropped, scaled or flipped.
        """
        listed, areas = self.frames[index].listed, areas_of(ids)
        assert listed is not None
        return [
            Segment(
                id=number,
                category_id=self.class_of[category],
                iscrowd=crowd,
                area=areas[number],
            )
            for number, category, crowd in listed.tolist()
            if number in areas
        ]

    def _photo(self, path: Path) -> Image.Image:
        """Return the image of the file `path`, of mode RGB; each set says how."""
        raise NotImplementedError

    def _image(self, frame: PanopticFrame, ids: np.ndarray) -> Image.Image:
        """Return the image of a frame; SizeMismatchError where it and its ids differ in size."""
        image = self._photo(frame.image)
        if ids.shape != (image.height, image.width):
            label = Image.fromarray(ids.astype(np.int32))
            require_one_size(image, label, (frame.image, frame.label))
        if frame.size_hw and ids.shape != frame.size_hw:
            raise SizeMismatchError(
                f"{frame.image} is {image.width} x {image.height} (width x height), "
                f"{frame.annotations} says {frame.size_hw[1]} x {frame.size_hw[0]}: they must be "
                "equal"
            )
        return image

    def _classes(self, index: int, ids: np.ndarray) -> Image.Image:
        return Image.fromarray(semantic_of(ids, self.segments_in(index, ids)))

    def _require_known(self, frame: PanopticFrame, ids: np.ndarray) -> None:
        """Raise UnknownLabelsError where a segment is of a category outside the table."""
        if self._are_known([frame]):
            return
        areas = areas_of(ids)
        pixels: dict[int, int] = {}
        assert frame.listed is not None
        for number, category, _ in frame.listed.tolist():
            if category not in self.class_of:
                pixels[category] = pixels.get(category, 0) + areas[number]
        error = UnknownLabelsError(
            f"{frame.label}: segments of the categories {some_ids(list(pixels))} in "
            f"{frame.annotations}, which are none of the {self.num_classes} of the set; is it the "
            "annotation file of this set?"
        )
        error.pixels = pixels
        raise error

    def _are_known(self, frames: Iterable[PanopticFrame]) -> bool:
        """Return whether every category that is listed for `frames` is one of the table."""
        lists = [frame.listed[:, 1] for frame in frames if frame.listed is not None]
        return not lists or set(np.unique(np.concatenate(lists)).tolist()) <= set(self.class_of)

    def _hold(self, frames: Iterable[PanopticFrame], problems: Mapping[str, Sequence[str]]) -> None:
        """Keep `frames`; raise where `problems`, names by kind, has any, or nothing is there.

        Raises:
            UnpairedError: of `problems`; its `source` is this set without their frames.
            DataError: no frame.
            UnknownLabelsError: a category outside the table; its `source` is this set.
        """
        self.frames = tuple(frames)
        held = {kind: names for kind, names in problems.items() if names}
        if held:
            told = "; ".join(f"{kind}: {some(names)}" for kind, names in held.items())
            unpaired = UnpairedError(
                f"{self.root}, split {self.split}: {told}. Add what is missing, or take out its "
                "partner"
            )
            unpaired.problems, unpaired.source = held, self
            raise unpaired
        if not self.frames:
            raise DataError(f"{self.root}: the split {self.split} holds no image")
        if not self._are_known(self.frames):
            self._refuse_categories()

    def _refuse_categories(self) -> None:
        """Raise UnknownLabelsError of the first frame with a category outside the table."""
        frame = next(frame for frame in self.frames if not self._are_known([frame]))
        assert frame.listed is not None
        found = [c for c in frame.listed[:, 1].tolist() if c not in self.class_of]
        error = UnknownLabelsError(
            f"{frame.annotations}: {frame.label.name} has segments of the categories "
            f"{some_ids(found)}, which are none of the {self.num_classes} of the set; is it the "
            "annotation file of this set?"
        )
        error.source = self
        raise error


def without_absent(
    frames: Sequence[PanopticFrame], unlisted: Iterable[str]
) -> tuple[list[PanopticFrame], dict[str, list[str]]]:
    """Return the frames whose image and PNG are there, and what is not, by kind; see `_hold`.

    unlisted: images that no annotation is of.
    """
    paths = {path for frame in frames for path in (frame.image, frame.label)}
    folders = {path.parent for path in paths}
    there = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    absent = paths - there
    problems = {
        "files that are listed and not there": sorted(map(str, absent)),
        "images without an annotation": sorted(unlisted),
    }
    return [frame for frame in frames if not {frame.image, frame.label} & absent], problems
