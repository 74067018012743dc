"""Average precision of the masks or the boxes of instances, by pycocotools (extra `coco`)."""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.documents import json_in
from common.errors import DataError, UserError
from common.metrics.instances import Instance
from common.panoptic.files import is_of_kind

# In COCOeval's order: precision by least IoU and by size of the object, recall by the number of
# masks an image and by size. -1 where there is no object of the size.
FIGURES = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)
Row = Mapping[str, Any]
_IMAGE = {"id": (int, str), "height": (int,), "width": (int,)}
_OBJECT = {"id": (int,), "image_id": (int, str), "category_id": (int,), "area": (int, float)}
_RESULT = {"image_id": (int, str), "category_id": (int,), "score": (int, float)}
_NEEDED: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "images": _IMAGE,
    "categories": {"id": (int,)},
    "annotations": {**_OBJECT, "iscrowd": (int, bool), "segmentation": (list, Mapping)},
    "results": {**_RESULT, "segmentation": (Mapping,)},
}


def mask_average_precision(
    dataset: Row | str | Path, results: Sequence[Row] | str | Path
) -> np.ndarray:
    """Return the twelve figures of COCOeval for "segm", 0..1, in its order: float64 [12].

    Args:
        dataset: COCO's: images (id, height, width), categories, and annotations with id,
            image_id, category_id, area, iscrowd and segmentation; or its JSON file.
        results: rows of image_id, category_id, score and segmentation, run lengths with size and
            counts; or their JSON file. A box in them is not looked at: pycocotools would take the
            area of an object from it.

    Raises:
        UserError: pycocotools is not installed. DataError: something in them is missing, twice, of
            an image or category that is not there, or of another size than its image.
    """
    return average_precision(dataset, results).figures


class AveragePrecision(NamedTuple):
    """What COCOeval says: its twelve figures float64 [12], and AP by category id.

    Both are 0..1; -1 where there is no object of that kind.
    """

    figures: np.ndarray
    by_category: dict[int, float]


def average_precision(
    dataset: Row | str | Path, results: Sequence[Row] | str | Path, kind: str = "segm"
) -> AveragePrecision:
    """Return the figures of COCOeval, of masks ("segm") or of boxes ("bbox").

    See `mask_average_precision`; for boxes each row of both sides has a bbox, x, y, width, height.
    """
    coco, coco_eval, masks = _pycocotools()
    held = _loaded(dataset)
    if not isinstance(held, Mapping):
        raise DataError("average precision: dataset must be an object with images and annotations")
    images, categories, objects = _checked_dataset(held)
    found = _checked_results(_loaded(results), images, categories)
    for row in found:
        if kind == "bbox":
            row["area"] = _box_area(row)
        else:
            row["area"], row["bbox"] = masks.area(row["segmentation"]), [0, 0, 0, 0]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        sides = [_indexed(coco, held, rows) for rows in (objects, found)]
        judge = coco_eval(*sides, kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    # [thresholds of IoU, recalls, categories, sizes, numbers of detections]
    precision = judge.eval["precision"][:, :, :, 0, -1]
    by_category = {
        category: float(own[own > -1].mean()) if (own > -1).any() else -1.0
        for category, own in zip(judge.params.catIds, precision.transpose(2, 0, 1), strict=True)
    }
    return AveragePrecision(np.asarray(judge.stats, np.float64), by_category)


def _box_area(row: Row) -> float:
    box = row.get("bbox")
    if not isinstance(box, Sequence) or len(box) != 4 or not np.isfinite(box).all():
        raise DataError(
            f"average precision: a result of image {row['image_id']} has {box!r:.60} for bbox; "
            "expected x, y, width, height"
        )
    return float(box[2]) * float(box[3])


def results_of(
    instances: Iterable[Instance], image_id: int | str, category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the instances of an image as results, with the data set's own category ids.

    Raises UserError where pycocotools is not installed.
    """
    rows = []
    for one in instances:
        known = {"image_id": image_id, "category_id": category_ids[one.category_id]}
        rows.append({**known, "segmentation": run_lengths_of(one.mask), "score": one.score})
    return rows


def run_lengths_of(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask [H, W] as COCO's results have it: "size", and "counts" as text.

    Raises UserError where pycocotools is not installed.
    """
    lengths = _pycocotools()[2].encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(lengths["size"]), "counts": lengths["counts"].decode()}


def _pycocotools() -> tuple[Any, Any, Any]:
    try:
        from pycocotools import mask
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError:
        raise UserError(
            "average precision of masks needs pycocotools, which is not installed: "
            "pip install 'torch2paddle-seg[coco]'"
        ) from None
    return COCO, COCOeval, mask


def _loaded(given: Any) -> Any:
    """Return what a JSON file holds, or what is given itself."""
    if not isinstance(given, str | Path):
        return given
    try:
        return json_in(Path(given))
    except OSError as error:
        raise DataError(f"{given}: {error.strerror or error}; give a JSON file of COCO") from None
    except ValueError as error:
        raise DataError(f"{given}: is not JSON: {error}; give a JSON file of COCO") from None


def _indexed(coco: Any, dataset: Row, rows: list[dict[str, Any]]) -> Any:
    side = coco()
    side.dataset = {name: list(dataset[name]) for name in ("images", "categories")}
    side.dataset["annotations"] = rows
    side.createIndex()
    return side


def _rows(held: Any, name: str) -> list[dict[str, Any]]:
    """Return copies of rows that have what is needed of them: pycocotools writes into its own."""
    needed = _NEEDED[name]
    if not isinstance(held, Sequence) or not all(isinstance(row, Mapping) for row in held):
        raise DataError(f"average precision: {name} must be a list of objects")
    for place, row in enumerate(held):
        for key, kinds in needed.items():
            if not is_of_kind(row.get(key), kinds):
                raise DataError(
                    f"average precision: {name}[{place}] has {row.get(key)!r} for {key}; each "
                    f"needs {', '.join(needed)}"
                )
    return [dict(row) for row in held]


def _checked_dataset(held: Row) -> tuple[dict[Any, tuple[int, int]], set[int], list[Any]]:
    """Return (height, width) of each image by id, the categories, and the objects."""
    sizes = {
        row["id"]: (row["height"], row["width"]) for row in _rows(held.get("images"), "images")
    }
    categories = {row["id"] for row in _rows(held.get("categories"), "categories")}
    objects = _rows(held.get("annotations"), "annotations")
    for row in objects:
        _require_there(row, "annotations", sizes, categories)
    numbers = [row["id"] for row in objects]
    if len(set(numbers)) < len(numbers) or min(numbers, default=1) < 1:
        raise DataError(
            "average precision: ids of annotations must be whole numbers above 0, each once; "
            "COCOeval takes an object with the id 0 for one that was not found"
        )
    return sizes, categories, objects


def _checked_results(
    held: Any, sizes: Mapping[Any, tuple[int, int]], categories: set[int]
) -> list[dict[str, Any]]:
    rows = _rows(held, "results")
    for number, row in enumerate(rows, start=1):
        _require_there(row, "results", sizes, categories)
        if not np.isfinite(row["score"]):
            raise DataError(
                f"could not check: a result has the score {row['score']}; look at the weights of "
                "the net that gave it"
            )
        lengths, size = row["segmentation"], list(sizes[row["image_id"]])
        if (
            not isinstance(lengths.get("counts"), str | bytes)
            or list(lengths.get("size", ())) != size
        ):
            raise DataError(
                f"average precision: a result of image {row['image_id']} needs compressed run "
                f"lengths of size {size} (height, width), counts as text; got size "
                f"{lengths.get('size')} and counts of type {type(lengths.get('counts')).__name__}"
            )
        row |= {"id": number, "iscrowd": 0}
    return rows


def _require_there(row: Row, name: str, images: Mapping[Any, Any], categories: set[int]) -> None:
    for key, known in (("image_id", images), ("category_id", categories)):
        if row[key] not in known:
            raise DataError(
                f"average precision: {name} have {key} {row[key]}, which the dataset does not list"
                "; write its own ids"
            )
