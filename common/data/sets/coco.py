"""COCO 2017 in the classes of Pascal VOC, as it lies on disk.

    train2017/<12 digits>.jpg                118287 images
    val2017/<12 digits>.jpg                  5000
    annotations/instances_train2017.json     polygons, and run lengths of crowds
    annotations/instances_val2017.json

A label is drawn from the instances of an image: background where none is, void where two overlap.
Source: torchvision, references/segmentation/coco_utils.py. Needs pycocotools (extra `coco`).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from common.data.read_image import read_image
from common.data.sets.run_lengths import mask_of, masks_for
from common.data.sets.voc import CLASS_NAMES, VOID, palette
from common.documents import json_in
from common.errors import ConfigError, DataError

SPLITS = ("train", "val")
# VOC's classes 1..20 as ids and names of COCO; coco_utils.py:94 (at 030d27a), CAT_LIST.
CATEGORIES = {
    5: "airplane",
    2: "bicycle",
    16: "bird",
    9: "boat",
    44: "bottle",
    6: "bus",
    3: "car",
    17: "cat",
    62: "chair",
    21: "cow",
    67: "dining table",
    18: "dog",
    19: "horse",
    4: "motorcycle",
    1: "person",
    64: "potted plant",
    20: "sheep",
    63: "couch",
    7: "train",
    72: "tv",
}
LEAST_AREA = 1000  # pixels; a training image shows more than that of these classes
CLASS_OF = {category: index for index, category in enumerate(CATEGORIES, start=1)}
PNG = b"\x89PNG"
HOW_TO_GET = (
    "Get train2017.zip, val2017.zip and annotations_trainval2017.zip at "
    "https://cocodataset.org/#download and unpack all three into that folder"
)


class Region(NamedTuple):
    """An instance: its class 1..20, the id of its annotation, polygons or run lengths."""

    class_index: int
    annotation: int
    segmentation: Any


class CocoFrame(NamedTuple):
    """An image of `height` x `width` and what is annotated in it."""

    name: str
    image: Path
    height: int
    width: int
    regions: tuple[Region, ...]


class Coco:
    """The images of "train" or "val", sorted by their ids.

    Of "train" only those are taken whose annotated areas in these classes are more than 1000
    pixels in all, as the authors do.

    Args:
        root: the folder that holds train2017/, val2017/ and annotations/.
        split: "train" or "val".

    Raises:
        ConfigError: unknown split.
        DataError: no data, an image that is not there, annotations of another format.
        UserError: pycocotools is not installed.
    """

    class_names: tuple[str, ...] = CLASS_NAMES
    num_classes = len(CLASS_NAMES)
    ignore_index = VOID
    colors = palette()

    def __init__(self, root: str | Path, split: str) -> None:
        if split not in SPLITS:
            raise ConfigError(f"split: expected {' or '.join(SPLITS)}, got {split!r}")
        masks_for("coco")
        self.root = Path(root)
        self.split = split
        self._folder = self.root / f"{split}2017"
        self._list = self.root / "annotations" / f"instances_{split}2017.json"
        if not self._folder.is_dir() or not self._list.is_file():
            raise DataError(
                f"no COCO data: looked for {self._folder.name}/ and annotations/{self._list.name} "
                f"in {self.root.absolute()}. {HOW_TO_GET}"
            )
        self.frames = tuple(self._open())
        if not self.frames:
            raise DataError(f"{self._list} names no image that shows a class of Pascal VOC")
        there = {path.name for path in self._folder.iterdir()}
        absent = [str(f.image) for f in self.frames if f.image.name not in there]
        if absent:
            more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
            raise DataError(
                f"{self._list} names images that are not there: {', '.join(absent[:3])}{more}"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """Image (mode RGB; grey ones are converted) and label (mode L: 0..20, void 255).

        Raises:
            DataError: unreadable, of another size than its annotations say, or with a region that
                is none. The file or the annotation is named.
        """
        frame = self.frames[index]
        image = read_image(frame.image, _kind(frame.image), ("RGB", "L", "CMYK")).convert("RGB")
        if image.size != (frame.width, frame.height):
            raise DataError(
                f"{frame.image} is {image.width} x {image.height} (width x height), "
                f"{self._list.name} says {frame.width} x {frame.height}: they must be equal"
            )
        label = np.zeros((frame.height, frame.width), np.uint8)
        covered = np.zeros(label.shape, np.int64)
        for region in frame.regions:
            mask = self._mask(region, frame)
            label = np.maximum(label, mask * np.uint8(region.class_index))
            covered += mask
        label[covered > 1] = VOID
        return image, Image.fromarray(label)

    def _open(self) -> Iterable[CocoFrame]:
        try:
            content = json_in(self._list)
            names = {row["id"]: row["name"] for row in content["categories"]}
            images = {row["id"]: row for row in content["images"]}
            wanted = [row for row in content["annotations"] if row["category_id"] in CLASS_OF]
            regions, areas = _by_image(wanted, images)
            frames = [
                CocoFrame(
                    Path(row["file_name"]).stem,
                    self._folder / row["file_name"],
                    row["height"],
                    row["width"],
                    tuple(regions.get(key, ())),
                )
                for key, row in sorted(images.items())
                if self.split == "val" or areas.get(key, 0) > LEAST_AREA
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self._list}: not the annotations of COCO's instances "
                f"({type(error).__name__}: {error}); unpack annotations_trainval2017.zip again"
            ) from None
        other = {key: names.get(key) for key, name in CATEGORIES.items() if names.get(key) != name}
        if other:
            key, name = next(iter(other.items()))
            raise DataError(
                f"{self._list}: category {key} is {name!r}, COCO's is {CATEGORIES[key]!r} "
                f"({len(other)} of 20 differ)"
            )
        return frames

    def _mask(self, region: Region, frame: CocoFrame) -> np.ndarray:
        """Return the pixels of a region: uint8 [H, W], 0 or 1."""
        try:
            size = (frame.height, frame.width)
            return mask_of(region.segmentation, size, masks_for("coco"))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{self._list}: annotation {region.annotation} of {frame.image.name}: {error}"
            ) from None


def _by_image(
    annotations: list[Mapping[str, Any]], images: Mapping[int, Any]
) -> tuple[dict[int, list[Region]], dict[int, float]]:
    """Regions, and the sum of their areas in pixels, by the id of the image."""
    regions: dict[int, list[Region]] = {}
    areas: dict[int, float] = {}
    for row in annotations:
        image = row["image_id"]
        if image not in images:
            raise ValueError(f"annotation {row['id']} is of image {image}, which is not listed")
        region = Region(CLASS_OF[row["category_id"]], row["id"], row["segmentation"])
        regions.setdefault(image, []).append(region)
        areas[image] = areas.get(image, 0) + row["area"]
    return regions, areas


def _kind(path: Path) -> str:
    """Return what an image is by its signature: a name ending in .jpg is no proof."""
    try:
        with path.open("rb") as file:
            return "PNG" if file.read(4) == PNG else "JPEG"
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
