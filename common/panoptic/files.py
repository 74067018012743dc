"""Files of panopticapi: a JSON that lists the segments of each image, a folder of PNGs with ids.

Format: cocodataset/panopticapi, README.md. The folder is the JSON's path without its suffix.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.documents import load_object, write_text
from common.errors import DataError
from common.files import make_folder, whole_file
from common.panoptic.ids import save_ids
from common.panoptic.segments import areas_of

ADVICE = "give a JSON of panopticapi: images, annotations with segments_info, categories"
_WHOLE = (int,)
Row = Mapping[str, Any]


class Category(NamedTuple):
    """A class of a panoptic file."""

    name: str
    is_thing: bool


class Annotation(NamedTuple):
    """What a panoptic file says of one image: its name in the folder, its segments."""

    image_id: int | str
    file_name: str
    segments: Sequence[Row]


@dataclass(frozen=True)
class PanopticFile:
    """A panoptic JSON and the folder of its PNGs.

    categories: by their number, of a truth; images: by image_id, in the file's order.
    """

    path: Path
    folder: Path
    categories: Mapping[int, Category]
    images: Mapping[int | str, Annotation]

    def png(self, image: Annotation) -> Path:
        """Return the PNG of an image."""
        return self.folder / image.file_name

    def place(self, image: Annotation) -> str:
        """Name what the JSON says of an image, for a message."""
        return _place(self.path, image.image_id)


def read_truth(path: Path, folder: Path | None = None) -> PanopticFile:
    """Read the JSON of a truth: categories, and segments with area and iscrowd.

    Raises UnreadableError where it is no JSON, DataError where something in it is missing, twice,
    or of a category that it does not list.
    """
    data = load_object(path, ADVICE)
    categories = _categories(path, _rows(data, "categories", str(path)))
    needed = {"id": _WHOLE, "category_id": _WHOLE, "area": (int, float), "iscrowd": (int, bool)}
    images = _images(path, data, needed)
    for image in images.values():
        require_known(categories, image, _place(path, image.image_id), path)
    return PanopticFile(path, _folder(path, folder), categories, images)


def read_predictions(path: Path, folder: Path | None = None) -> PanopticFile:
    """Read the JSON of predictions, of which segments need id and category_id alone.

    Raises as `read_truth`; what categories there are, the truth says.
    """
    images = _images(path, load_object(path, ADVICE), {"id": _WHOLE, "category_id": _WHOLE})
    return PanopticFile(path, _folder(path, folder), {}, images)


def require_known(
    categories: Mapping[int, Any], image: Annotation, place: str, listed_in: Path
) -> None:
    """Raise DataError where a segment's category is none of those that a file lists."""
    for row in image.segments:
        if row["category_id"] not in categories:
            numbers = sorted(categories)
            raise DataError(
                f"{place}: segment {row['id']} has category_id {row['category_id']}, which is none "
                f"of the {len(numbers)} categories of {listed_in} ({_few(numbers)}); write the "
                "data set's own category ids, not train ids"
            )


def _place(path: Path, image_id: int | str) -> str:
    return f"{path} (image_id {image_id})"


def _few(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return shown if len(numbers) <= 5 else f"{shown}, ..., {numbers[-1]}"


def _folder(path: Path, folder: Path | None) -> Path:
    found = path.with_suffix("") if folder is None else folder
    if not found.is_dir():
        raise DataError(
            f"{found}: no such folder; the PNGs of {path} lie in a folder of its name without "
            ".json, or in the one that is given"
        )
    return found


def _rows(data: Row, name: str, place: str) -> list[Row]:
    rows = data.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(f"{place}: expected a list {name} of objects; {ADVICE}")
    return rows


def _categories(path: Path, rows: Sequence[Row]) -> dict[int, Category]:
    found = {}
    for row in rows:
        number, thing = row.get("id"), row.get("isthing")
        if type(number) is not int or thing not in (0, 1) or number in found:
            raise DataError(
                f"{path}: each of categories needs an id of its own, a whole number, and isthing 0 "
                f"or 1; got id {number} and isthing {thing}"
            )
        found[number] = Category(str(row.get("name", number)), thing == 1)
    if not found:
        raise DataError(f"{path}: categories is empty; {ADVICE}")
    return found


def _images(path: Path, data: Row, needed: Mapping[str, tuple[type, ...]]) -> dict[Any, Annotation]:
    found = {}
    for row in _rows(data, "annotations", str(path)):
        number, name = row.get("image_id"), row.get("file_name")
        if not isinstance(number, int | str) or not isinstance(name, str):
            raise DataError(
                f"{path}: each of annotations needs an image_id and a file_name, got {number} and "
                f"{name}"
            )
        if number in found:
            raise DataError(f"{path}: the image_id {number} stands there twice; leave one")
        place = _place(path, number)
        segments = _rows(row, "segments_info", place)
        for segment in segments:
            _require_fields(segment, needed, place)
        found[number] = Annotation(number, name, segments)
    return found


def _require_fields(row: Row, needed: Mapping[str, tuple[type, ...]], place: str) -> None:
    wrong = [name for name, kinds in needed.items() if not is_of_kind(row.get(name), kinds)]
    if wrong:
        raise DataError(
            f"{place}: each of segments_info needs {', '.join(needed)}, which are numbers, "
            f"ids whole ones; got {row.get(wrong[0])!r} for {wrong[0]}"
        )


def is_of_kind(value: Any, kinds: tuple[type, ...]) -> bool:
    """Tell whether a value of JSON is of one of `kinds`; true and false are no numbers."""
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def apart_from_void(panoptic: np.ndarray, label_divisor: int) -> np.ndarray:
    """Return (class + 1) * label_divisor + number, and 0 of void, which is negative: uint32."""
    ids: np.ndarray = np.where(panoptic >= 0, panoptic + label_divisor, 0).astype(np.uint32)
    return ids


def segments_in(
    panoptic: np.ndarray, label_divisor: int, category_ids: Sequence[int]
) -> tuple[np.ndarray, list[dict[str, int]]]:
    """Return what panopticapi takes of a panoptic map: ids uint32 [H, W] and segments_info.

    Void is kept apart from class 0, as `apart_from_void` does it.

    Args:
        panoptic: whole numbers [H, W], class * label_divisor + number of the instance.
        label_divisor: of `panoptic`.
        category_ids: the data set's own number of every class.

    Raises DataError where a class is none of them.
    """
    ids = apart_from_void(panoptic, label_divisor)
    rows = []
    for number, area in areas_of(ids).items():
        place = number // label_divisor - 1
        if place >= len(category_ids):
            raise DataError(
                f"panoptic map: expected classes 0..{len(category_ids) - 1}, got {place} "
                f"(id {number - label_divisor} with a label_divisor of {label_divisor}); give the "
                "label_divisor with which the map was made"
            )
        rows.append({"id": number, "category_id": category_ids[place], "area": area})
    return ids, rows


def category_rows(
    category_ids: Sequence[int], names: Sequence[str], things: Collection[int], colors: np.ndarray
) -> list[dict[str, Any]]:
    """Return what panopticapi's files say of classes, a row each.

    Args:
        category_ids, names: of every class, the data set's own number and its name.
        things: the classes that are things.
        colors: uint8 [classes or more, 3] RGB.
    """
    named = enumerate(zip(category_ids, names, strict=True))
    return [
        {
            "id": category,
            "name": name,
            "isthing": int(place in things),
            "color": colors[place].tolist(),
        }
        for place, (category, name) in named
    ]


class PredictionFiles:
    """Writes predictions as panopticapi reads them: PNGs one by one, the JSON at the end.

    Args:
        path: the JSON; the PNGs go to the folder of its name without suffix.
        label_divisor: of the panoptic maps.
        category_ids: the data set's own number of every class.
    """

    def __init__(self, path: Path, label_divisor: int, category_ids: Sequence[int]) -> None:
        self.path, self.folder = path, path.with_suffix("")
        self.label_divisor, self.category_ids = label_divisor, tuple(category_ids)
        self.annotations: list[dict[str, Any]] = []
        make_folder(self.folder)

    def add(self, panoptic: np.ndarray, image_id: int | str, name: str) -> None:
        """Write the map of an image, whole numbers [H, W], void negative, to `name`.png.

        Raises UserError where it cannot be written, DataError as `segments_in`.
        """
        ids, rows = segments_in(panoptic, self.label_divisor, self.category_ids)
        file = f"{name}.png"
        with whole_file(self.folder / file) as draft:
            save_ids(ids, draft)
        self.annotations.append({"image_id": image_id, "file_name": file, "segments_info": rows})

    def close(self, categories: Sequence[Row] = ()) -> None:
        """Write the JSON, with rows of `category_rows`, or those of the data set's own file."""
        document = {"annotations": self.annotations, "categories": list(categories)}
        write_text(self.path, json.dumps(document))
