"""Annotation files of panopticapi: which images there are, and which segments they have."""

from collections.abc import Iterable, Mapping
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.documents import json_in
from common.errors import DataError
from common.files import is_below

# What reading a file of another format may raise.
FAULTS = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
)


class ListedImage(NamedTuple):
    """An image of an annotation file: its id there, its file, its PNG of ids, its segments.

    size_hw: height, width. segments: int64 [n, 3], rows of id, category, 1 of a crowd.
    """

    image_id: int | str
    file_name: str
    size_hw: tuple[int, int]
    png: str
    segments: np.ndarray


class Annotations(NamedTuple):
    """What an annotation file holds: names of its categories, images in the order of their ids.

    without: files of images that no annotation is of.
    """

    categories: Mapping[int, str]
    images: tuple[ListedImage, ...]
    without: tuple[str, ...]


def read_annotations(path: Path) -> Annotations:
    """Read an annotation file; an image and its annotation are joined by the image's id.

    Raises:
        DataError: unreadable, of another format, an annotation of an image that is not listed, or
            two of one image.
    """
    try:
        content = json_in(path)
        categories = {index(row["id"]): str(row["name"]) for row in content.get("categories", ())}
        images = {row["id"]: row for row in content["images"]}
        annotations = _by_image(content["annotations"], images)
        found = tuple(
            _listed(images[key], annotations[key])
            for key in sorted(images, key=lambda key: (isinstance(key, str), key))
            if key in annotations
        )
        without = tuple(row["file_name"] for key, row in images.items() if key not in annotations)
    except FAULTS as error:
        raise DataError(
            f"{path}: not the annotations of a panoptic set ({type(error).__name__}: {error}); "
            "expected JSON with images, annotations and segments_info, as panopticapi has it"
        ) from None
    return Annotations(categories, found, without)


def require_categories(found: Mapping[int, str], names: Mapping[int, str], path: Path) -> None:
    """Raise DataError where a category that a file names has another name than in the table.

    names: by category, those of the table. A category that the table lacks does not count here.
    """
    other = {key: name for key, name in found.items() if names.get(key, name) != name}
    if other:
        key, name = next(iter(other.items()))
        raise DataError(
            f"{path}: category {key} is {name!r}, in this set it is {names[key]!r} ({len(other)} "
            f"of {len(names)} differ); is it the annotation file of this set?"
        )


def _by_image(rows: Iterable[Any], images: Mapping[Any, Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for row in rows:
        key = row["image_id"]
        if key not in images:
            raise ValueError(f"an annotation is of image {key!r}, which is not listed")
        if key in found:
            raise ValueError(f"two annotations are of image {key!r}")
        found[key] = row
    return found


def _listed(image: Mapping[str, Any], annotation: Mapping[str, Any]) -> ListedImage:
    rows = [
        (index(row["id"]), index(row["category_id"]), int(bool(index(row.get("iscrowd", 0)))))
        for row in annotation["segments_info"]
    ]
    names = (str(image["file_name"]), str(annotation["file_name"]))
    for name in names:
        if not is_below(name):
            raise ValueError(f"image {image['id']!r:.40} is in {name!r:.80}, outside of its folder")
    return ListedImage(
        image["id"],
        names[0],
        (index(image["height"]), index(image["width"])),
        names[1],
        np.array(rows, np.int64).reshape(-1, 3),
    )
