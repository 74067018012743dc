"""Annotation files of COCO's instances: which images there are, and what is annotated in them."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.documents import json_in
from common.errors import DataError
from common.files import is_below

# What reading a file of another format may raise.
FAULTS = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
)
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels


class AnnotatedImage(NamedTuple):
    """An image of an annotation file: its id there, its file, height and width.

    rows: what is annotated in it, as JSON text, which takes a fraction of the objects' memory.
    """

    image_id: int | str
    file_name: str
    size_hw: tuple[int, int]
    rows: str


class InstanceAnnotations(NamedTuple):
    """What an annotation file holds: names of its categories, images in the order of their ids."""

    categories: Mapping[int, str]
    images: tuple[AnnotatedImage, ...]


def read_annotations(path: Path) -> InstanceAnnotations:
    """Read an annotation file; annotations are joined to their image by its id.

    Raises DataError, which names the annotation, where the file is unreadable, of another format,
    or an annotation is of no image or no category of it.
    """
    try:
        content = json_in(path)
        categories = {_whole(row["id"]): str(row["name"]) for row in content["categories"]}
        images = _images(content["images"])
        found = _by_image(content["annotations"], images, categories)
    except FAULTS as error:
        raise DataError(
            f"{path}: not the annotations of COCO's instances ({type(error).__name__}: {error}); "
            "expected JSON with images, annotations and categories"
        ) from None
    listed = (
        AnnotatedImage(key, name, size, json.dumps(found.get(key, [])))
        for key, (name, size) in sorted(images.items(), key=lambda each: _order(each[0]))
    )
    return InstanceAnnotations(categories, tuple(listed))


def _order(key: int | str) -> tuple[bool, int | str]:
    return isinstance(key, str), key


def _images(rows: Sequence[Any]) -> dict[int | str, tuple[str, tuple[int, int]]]:
    """Return file and size (height, width) of each image by its id."""
    found: dict[int | str, tuple[str, tuple[int, int]]] = {}
    for row in rows:
        key, name = row["id"], row["file_name"]
        size = (_whole(row["height"]), _whole(row["width"]))
        if type(key) not in (int, str) or key in found:
            raise ValueError(f"an image has the id {key!r:.40}, which is no number, or is twice")
        if not is_below(name):
            raise ValueError(f"image {key} is in {name!r:.80}, outside of its folder")
        if min(size) < 1:
            raise ValueError(f"image {key} is of {size[1]} x {size[0]} pixels")
        found[key] = (name, size)
    return found


def _by_image(
    rows: Sequence[Any], images: Mapping[Any, Any], categories: Mapping[int, str]
) -> dict[Any, list[dict[str, Any]]]:
    """Return what is wanted of the annotations of each image by its id, in their order."""
    found: dict[Any, list[dict[str, Any]]] = {}
    seen: set[int] = set()
    for row in rows:
        number = _whole(row["id"])
        try:
            wanted = _wanted(row, images, categories)
        except FAULTS as error:
            what = f"no {error}" if isinstance(error, KeyError) else f"{error}"
            raise ValueError(f"annotation {number}: {what}") from None
        if number in seen:
            raise ValueError(f"annotation {number} stands there twice")
        seen.add(number)
        found.setdefault(row["image_id"], []).append(wanted)
    return found


def _wanted(
    row: Mapping[str, Any], images: Mapping[Any, Any], categories: Mapping[int, str]
) -> dict[str, Any]:
    """Return what is wanted of an annotation, checked; raises one of `FAULTS`."""
    if row["image_id"] not in images:
        raise ValueError(f"is of image {row['image_id']!r:.40}, which is not listed")
    if _whole(row["category_id"]) not in categories:
        raise ValueError(f"is of category {row['category_id']}, which is not listed")
    box, crowd = row["bbox"], row.get("iscrowd", 0)
    if len(box) != 4 or not all(map(_is_number, box)):
        raise ValueError(f"has the bbox {box!r:.80}; expected four numbers x, y, width, height")
    if crowd not in (0, 1):
        raise ValueError(f"has {crowd!r:.40} for iscrowd; expected 0 or 1")
    area = row.get("area")
    if area is not None and not _is_number(area):
        raise ValueError(f"has {area!r:.40} for area; expected a number")
    if not isinstance(row["segmentation"], list | Mapping):
        raise ValueError("has a segmentation that is neither polygons nor run lengths")
    kept = {name: row[name] for name in ("id", "category_id", "bbox", "segmentation")}
    return {**kept, "iscrowd": int(crowd), "area": area}


def box_of(row: Mapping[str, Any], size_hw: tuple[int, int]) -> Box | None:
    """Return the box of an annotation, clipped to its image; None of one that holds no pixel.

    As MMDetection 3.3.0, mmdet/datasets/coco.py, parse_data_info, has it: less than a pixel high or
    wide, outside of the image, or of an area of 0.
    """
    x, y, width, height = row["bbox"]
    x0, x1 = (min(max(place, 0.0), float(size_hw[1])) for place in (x, x + width))
    y0, y1 = (min(max(place, 0.0), float(size_hw[0])) for place in (y, y + height))
    empty = x1 <= x0 or y1 <= y0 or min(width, height) < 1
    return None if empty or (row["area"] is not None and row["area"] <= 0) else (x0, y0, x1, y1)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r:.40} is no whole number")
    return value
