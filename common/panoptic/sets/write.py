"""Writing annotation files and PNGs as createPanopticImgs of cityscapesScripts does."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data.sets.cityscapes import IMAGE_SUFFIX, CityscapesFrame, open_split
from common.data.sets.cityscapes_labels import TRAINED
from common.errors import DataError
from common.files import whole_file, whole_folder
from common.panoptic.ids import save_ids
from common.panoptic.sets.cityscapes import INSTANCES, OF_LABELS, files_of
from common.panoptic.sets.instances import read_instances, segments_of_instances


def write_cityscapes_panoptic(
    root: str | Path,
    split: str,
    *,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write gtFine/cityscapes_panoptic_SPLIT.json and its folder of PNGs from the instance ids.

    Args:
        root: the folder that holds leftImg8bit/ and gtFine/.
        split: train or val.
        force: replace what is there.
        progress: called with (frames written, frames in all).

    Returns the annotation file. Raises DataError where it is there already, where there are no
    instance ids, or one cannot be read; nothing is written then.
    """
    file, folder = files_of(Path(root), split)
    if not force and (file.exists() or folder.exists()):
        raise DataError(f"{file} or its folder is there already; replace them with force=True")
    frames = open_split(Path(root), split, INSTANCES)[1]
    with whole_folder(folder) as draft:
        about = write_maps(frames, draft, progress)
    with whole_file(file) as path:
        write_annotations(about, path)
    return file


def write_maps(
    frames: Sequence[CityscapesFrame],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the ids of frames, whose labels are instance ids, to `folder`, a PNG each.

    Returns what an annotation file says of them.
    """
    images, annotations = [], []
    for done, frame in enumerate(frames, start=1):
        ids = read_instances(frame.label)
        png = f"{frame.name}{OF_LABELS}_panoptic.png"
        save_ids(ids, folder / png)
        images.append(_image(frame.name, ids.shape))
        rows = [
            row_of(ids, segment["id"], TRAINED[segment["category_id"]].id, segment["iscrowd"])
            for segment in segments_of_instances(ids)
        ]
        annotations.append({"image_id": frame.name, "file_name": png, "segments_info": rows})
        if progress:
            progress(done, len(frames))
    return {"images": images, "annotations": annotations, "categories": _categories()}


def write_annotations(about: Mapping[str, Any], path: Path) -> None:
    """Write an annotation file."""
    path.write_text(json.dumps(about, sort_keys=True, indent=4) + "\n")


def row_of(ids: np.ndarray, number: int, category: int, crowd: int) -> dict[str, Any]:
    """Return what an annotation file says of segment `number`; its box is x, y, width, height."""
    there = ids == number
    (top, bottom), (left, right) = (
        np.flatnonzero(there.any(axis=axis))[[0, -1]].tolist() for axis in (1, 0)
    )
    return {
        "id": number,
        "category_id": category,
        "iscrowd": crowd,
        "area": int(there.sum()),
        "bbox": [left, top, right - left + 1, bottom - top + 1],
    }


def _image(name: str, size_hw: Sequence[int]) -> dict[str, Any]:
    file = f"{name}{OF_LABELS}{IMAGE_SUFFIX}"
    return {"id": name, "width": size_hw[1], "height": size_hw[0], "file_name": file}


def _categories() -> list[dict[str, Any]]:
    return [
        {"id": row.id, "name": row.name, "color": row.color, "isthing": int(row.has_instances)}
        for row in TRAINED
    ]
