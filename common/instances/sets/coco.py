"""COCO instances 2017 as it lies on disk, and sets of one's own in its format.

    train2017/<12 digits>.jpg                118287 images
    val2017/<12 digits>.jpg                  5000
    annotations/instances_train2017.json     polygons, and run lengths of crowds
    annotations/instances_val2017.json

How many images there are is what the annotation file lists. Needs pycocotools (extra `coco`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from common.data.classes import bit_palette
from common.data.photo_set import some
from common.data.photos import read_photo
from common.data.sets.run_lengths import mask_of, masks_for, require_region
from common.data.transforms.images import VOID
from common.errors import ConfigError, DataError, SizeMismatchError, UnpairedError
from common.instances.sets.annotations import box_of, read_annotations
from common.panoptic.sets.coco_categories import CATEGORIES, NUM_THINGS, palette
from common.words.typed import as_typed

SPLITS = ("train", "val")
NAME = "coco_instances"  # of the set in a config
THINGS = CATEGORIES[:NUM_THINGS]
_BY_ID = {row.id: row.name for row in THINGS}
NAMES_BY_ID = tuple(_BY_ID.get(k, f"(no {k})") for k in range(1, max(_BY_ID) + 1))
HOW_TO_GET = (
    "Get train2017.zip, val2017.zip and annotations_trainval2017.zip at "
    "https://cocodataset.org/#download and unpack all three into that folder, or make a small set: "
    "python tools/make_toy_cityscapes.py DIR --layout coco_instances"
)


class InstanceFrame(NamedTuple):
    """An image, what annotation files call it, its (height, width), its annotations as JSON."""

    name: str
    image: Path
    image_id: int | str
    size_hw: tuple[int, int]
    rows: str


class InstanceSample(NamedTuple):
    """An image uint8 [H, W, 3], RGB, and its objects.

    objects: "boxes" float32 [N, 4] (x0, y0, x1, y1 in pixels), "labels" int64 [N], 1 to the number
    of classes, "masks" uint8 [N, H, W] of 0 and 1, "iscrowd" bool [N], "image_id".
    """

    image: np.ndarray
    objects: dict[str, Any]


class CocoInstances:
    """The images of "train" or "val", in the order of their ids.

    Objects whose box holds no pixel are dropped. Of "train" images without any object but crowds
    are left out, as both authors do; they are not where `keep_empty` is set.

    Args:
        root: the folder that holds train2017/, val2017/ and annotations/.
        split: "train" or "val".
        names: of the categories of a set of one's own, class by class; None: COCO's 80.
        keep_empty: whether images without objects are trained on, too.
        by_id: the class is COCO's category id less 1, as in torchvision's weights: 90 classes.

    Attributes:
        dropped: how many objects were dropped. empty: how many images were left out.
        class_of: the class, from 0, of every category of the annotation file.

    Raises:
        ConfigError: unknown split.
        DataError: no data, or annotations of another format or of other categories.
        UnpairedError: an image is not there.
        UserError: pycocotools is not installed.
    """

    class_names: tuple[str, ...] = tuple(row.name for row in THINGS)
    num_classes = NUM_THINGS
    ignore_index = VOID
    colors = palette()
    holds_objects = True
    frames: tuple[InstanceFrame, ...]

    def __init__(
        self,
        root: str | Path,
        split: str,
        names: Sequence[str] | None = None,
        keep_empty: bool = False,
        by_id: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ConfigError(f"split: expected {' or '.join(SPLITS)}, got {split!r}")
        masks_for(NAME)
        self.by_id = by_id
        if by_id:
            names = NAMES_BY_ID
        if names is not None:
            self.class_names, self.num_classes = tuple(names), len(names)
            self.colors = palette_of_objects(len(names))
        self.root, self.split = Path(root), split
        folder, self._list = self._places()
        found = read_annotations(self._list)
        self.class_of = self._classes_of(found.categories)
        frames = [
            InstanceFrame(
                Path(row.file_name).with_suffix("").as_posix(),
                folder / row.file_name,
                row.image_id,
                row.size_hw,
                row.rows,
            )
            for row in found.images
        ]
        self._hold(frames, leave_empty=split == "train" and not keep_empty)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def category_ids(self) -> tuple[int, ...]:
        """What annotation files call the classes: a number for each."""
        by_class = {index: category for category, index in self.class_of.items()}
        return tuple(by_class.get(index, index + 1) for index in range(self.num_classes))

    def read_objects(self, index: int) -> InstanceSample:
        """Return an image and its objects, crowds among them.

        Raises:
            DamagedFileError: the image is unreadable.
            SizeMismatchError: it is of another size than the annotation file says.
            DataError: a region that is none, which is named.
        """
        frame = self.frames[index]
        image = self.read_image(index)
        boxes, labels, masks, crowds = [], [], [], []
        for row in self.annotations(index):
            if (box := box_of(row, frame.size_hw)) is None:
                continue
            boxes.append(box)
            labels.append(self.class_of[row["category_id"]] + 1)
            masks.append(self.mask(row, frame))
            crowds.append(bool(row["iscrowd"]))
        objects = {
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "labels": np.array(labels, np.int64),
            "masks": np.array(masks, np.uint8).reshape(-1, *frame.size_hw),
            "iscrowd": np.array(crowds, bool),
            "image_id": frame.image_id,
        }
        return InstanceSample(image, objects)

    def read_image(self, index: int) -> np.ndarray:
        """Return an image alone: uint8 [H, W, 3], RGB; raises as `read_objects`."""
        frame = self.frames[index]
        image = read_photo(frame.image)
        if (image.height, image.width) != frame.size_hw:
            raise SizeMismatchError(
                f"{frame.image} is {image.width} x {image.height} (width x height), {self._list} "
                f"says {frame.size_hw[1]} x {frame.size_hw[0]}: they must be equal"
            )
        return np.array(image)

    def annotations(self, index: int) -> list[dict[str, Any]]:
        """Return the rows of an image as the annotation file has them, dropped objects too.

        Raises DataError for a region that is none, which is named.
        """
        frame = self.frames[index]
        rows: list[dict[str, Any]] = json.loads(frame.rows)
        for row in rows:
            with self._named(row, frame):
                require_region(row["segmentation"], frame.size_hw)
        return rows

    def mask(self, row: Mapping[str, Any], frame: InstanceFrame) -> np.ndarray:
        """Return the pixels of an annotation: uint8 [H, W], 0 or 1; DataError for what is none."""
        with self._named(row, frame):
            return mask_of(row["segmentation"], frame.size_hw, masks_for(NAME))

    @contextmanager
    def _named(self, row: Mapping[str, Any], frame: InstanceFrame) -> Iterator[None]:
        """Let what is wrong with a region be a DataError that names its annotation."""
        try:
            yield
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{self._list}: annotation {row['id']} of {frame.image.name}: {error}"
            ) from None

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """Image (mode RGB) and the class of the last object of every pixel (mode L), else void.

        Raises as `read_objects`.
        """
        image, objects = self.read_objects(index)
        return Image.fromarray(image), Image.fromarray(topmost(objects, image.shape[:2])[0])

    def _places(self) -> tuple[Path, Path]:
        """Return the folder of images and the annotation file; DataError where they are absent."""
        folder = self.root / f"{self.split}2017"
        file = self.root / "annotations" / f"instances_{self.split}2017.json"
        absent = [
            str(place.relative_to(self.root)) for place in (folder, file) if not place.exists()
        ]
        if absent:
            raise DataError(
                f"no COCO instances: no {' and no '.join(absent)} in {self.root.absolute()}. "
                f"{as_typed(HOW_TO_GET)}"
            )
        return folder, file

    def _classes_of(self, categories: Mapping[int, str]) -> dict[int, int]:
        """Return the class of each category, which names tell; DataError for other names."""
        held = {name: number for number, name in categories.items()}
        known = dict.fromkeys(_BY_ID.values() if self.by_id else self.class_names)
        absent = [name for name in known if name not in held]
        strange = [name for name in categories.values() if name not in known]
        if absent or strange or len(held) < len(categories):
            raise DataError(
                f"{self._list}: its categories are {some(list(categories.values()))}, expected "
                f"{some(list(known))}, {len(known)} in all; data.names lists those of a set of "
                "your own, class by class"
            )
        if self.by_id:
            return {number: number - 1 for number in held.values()}
        return {held[name]: index for index, name in enumerate(known)}

    def _hold(self, frames: Sequence[InstanceFrame], leave_empty: bool) -> None:
        """Keep the frames that are there and, where empty ones are left, hold an object."""
        self.dropped = self.empty = 0
        there = {path for folder in {f.image.parent for f in frames} for path in _files(folder)}
        held = []
        for frame in frames:
            rows = json.loads(frame.rows)
            good = [row for row in rows if box_of(row, frame.size_hw)]
            self.dropped += len(rows) - len(good)
            empty = leave_empty and all(row["iscrowd"] for row in good)
            self.empty += empty
            held += [] if empty else [frame]
        self.frames = tuple(frame for frame in held if frame.image in there)
        if absent := [str(frame.image) for frame in held if frame.image not in there]:
            kind = "files that are listed and not there"
            error = UnpairedError(
                f"{self.root}, split {self.split}: {kind}: {some(absent)}. Add what is missing, or "
                "take out its partner"
            )
            error.problems, error.source = {kind: absent}, self
            raise error
        if not self.frames:
            raise DataError(f"{self.root}: the split {self.split} holds no image")


def palette_of_objects(count: int) -> np.ndarray:
    """Return VOC's colours of `count` classes of which none is background: uint8 [256, 3] RGB."""
    colors = np.zeros((256, 3), np.uint8)
    colors[:count] = bit_palette(count + 1)[1 : count + 1]
    return colors


def topmost(objects: Mapping[str, Any], size_hw: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return class uint8 [H, W], from 0, and number int64 [H, W] of the last object of each pixel.

    Where no object is, and where the last is a crowd, class and number are 255 and -1.
    """
    classes = np.full(size_hw, VOID, np.uint8)
    numbers = np.full(size_hw, -1, np.int64)
    for number, mask in enumerate(objects["masks"]):
        crowd = objects["iscrowd"][number]
        classes[mask > 0] = VOID if crowd else objects["labels"][number] - 1
        numbers[mask > 0] = -1 if crowd else number
    return classes, numbers


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
