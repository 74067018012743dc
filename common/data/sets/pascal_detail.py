"""The one file of Pascal in Detail, `trainval_merged.json`: Pascal-Context's labels as run lengths.

    images              image_id, file_name, phase (train, val), height, width
    annos_segmentation  image_id, category_id (number of the original), segmentation (run lengths)

A label is drawn mask by mask, later ones over earlier ones. Source: mricha56's detail-api,
`Detail.getMask`, which PyTorch-Encoding, mmsegmentation and PaddleSeg convert the set with.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.data.sets.run_lengths import compressed, masks_for
from common.documents import json_in
from common.errors import DataError


class DetailedImage(NamedTuple):
    """An image: file name, height, width, and masks as (number of the original, run lengths)."""

    file_name: str
    height: int
    width: int
    masks: list[tuple[int, Any]]


def read_details(path: Path) -> dict[str, dict[str, DetailedImage]]:
    """Return {phase: {name: what is in it}}, in the order of the file.

    Raises DataError where it is something else, UserError where pycocotools is not installed.
    """
    masks_for("pascal_context")
    return _details(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)  # both splits are in one file of many hundred MB
def _details(path: Path, changed: int) -> dict[str, dict[str, DetailedImage]]:
    phases: dict[str, dict[str, DetailedImage]] = {}
    try:
        content = json_in(path)
        by_id = {}
        for row in content["images"]:
            detail = DetailedImage(row["file_name"], int(row["height"]), int(row["width"]), [])
            by_id[row["image_id"]] = detail
            phases.setdefault(row["phase"], {})[Path(row["file_name"]).stem] = detail
        for row in content["annos_segmentation"]:
            if row["image_id"] in by_id:
                masks = by_id[row["image_id"]].masks
                masks.append((int(row["category_id"]), row["segmentation"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not the annotations of Pascal in Detail ({type(error).__name__}: {error}); "
            "copy it again"
        ) from None
    return phases


def label_of(detail: DetailedImage, path: Path) -> np.ndarray:
    """Return the numbers of the original: uint16 [H, W]; 0 where nothing is annotated.

    path: of the file, for messages. Raises DataError for a mask that is none, or of another size.
    """
    masks, size = masks_for("pascal_context"), (detail.height, detail.width)
    label = np.zeros(size, np.uint16)
    for number, segmentation in detail.masks:
        try:
            label[compressed(segmentation, size, masks) > 0] = number
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(
                f"{path}: a mask of category {number} of {detail.file_name}: {error}"
            ) from None
    return label
