"""The toy streets as COCO panoptic lays them out, with COCO's categories and ids of any colour."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.data.sets.cityscapes_labels import LABEL_OF_NAME
from common.data.toy.render import Rendering
from common.panoptic.ids import MOST, save_ids
from common.panoptic.sets.coco_categories import CATEGORIES, NUM_THINGS
from common.panoptic.sets.instances import PER_LABEL
from common.panoptic.sets.write import row_of, write_annotations
from common.randomness import choice, generator

# What a label of the street is called in COCO; what is not here belongs to no segment.
NAMES = {
    "road": "road",
    "sidewalk": "pavement-merged",
    "rail track": "railroad",
    "building": "building-other-merged",
    "wall": "wall-other-merged",
    "fence": "fence-merged",
    "vegetation": "tree-merged",
    "terrain": "grass-merged",
    "sky": "sky-other-merged",
    # Things of COCO that the street does not count one by one: crowds.
    "traffic light": "traffic light",
    "traffic sign": "stop sign",
    "person": "person",
    "rider": "person",
    "car": "car",
    "truck": "truck",
    "bus": "bus",
    "train": "train",
    "motorcycle": "motorcycle",
    "bicycle": "bicycle",
}
QUALITY = 95  # of a JPEG
_CATEGORY = {row.name: row.id for row in CATEGORIES}
_OF_LABEL = {LABEL_OF_NAME[name].id: _CATEGORY[coco] for name, coco in NAMES.items()}
_THINGS = {row.id for row in CATEGORIES[:NUM_THINGS]}


def panoptic_of(
    frame: Rendering, seed: int, number: int
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return ids uint32 [H, W] of a frame, and what an annotation file says of its segments.

    Segments of a label that are not counted are one; of a thing they are a crowd then. Their ids
    are drawn, from `seed` and the image's `number`.
    """
    rng = generator(seed, "toy coco panoptic", number)
    ids, rows = np.zeros(frame.instance_ids.shape, np.uint32), []
    taken = {0}
    for category, crowd, there in _segments(frame.instance_ids):
        while (name := choice(rng, MOST)) in taken:
            continue
        taken.add(name)
        ids[there] = name
        rows.append(row_of(ids, name, category, crowd))
    return ids, rows


def _segments(instances: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield category, 1 of a crowd, and pixels bool [H, W] of what instance ids have."""
    for value in np.unique(instances).tolist():
        counted = value >= PER_LABEL
        category = _OF_LABEL.get(value // PER_LABEL if counted else value)
        if category is not None:
            yield category, int(category in _THINGS and not counted), instances == value


def write_frame(root: Path, split: str, number: int, frame: Rendering, seed: int) -> dict[str, Any]:
    """Write an image and its ids, and return what an annotation file says: image, annotation."""
    name = f"{number:012d}"
    images, maps = root / f"{split}2017", root / "annotations" / f"panoptic_{split}2017"
    for folder in (images, maps):
        folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame.image).save(images / f"{name}.jpg", quality=QUALITY)
    ids, rows = panoptic_of(frame, seed, number)
    save_ids(ids, maps / f"{name}.png")
    size = {"height": ids.shape[0], "width": ids.shape[1]}
    return {
        "image": {"id": number, "file_name": f"{name}.jpg", **size},
        "annotation": {"image_id": number, "file_name": f"{name}.png", "segments_info": rows},
    }


def write_lists(root: Path, split: str, frames: list[dict[str, Any]]) -> None:
    """Write the annotation file of a split, of what `write_frame` returned.

    Its annotations stand in another order than its images, which COCO does not promise either.
    """
    about = {
        "images": [frame["image"] for frame in frames],
        "annotations": [frame["annotation"] for frame in reversed(frames)],
        "categories": [
            {"id": row.id, "name": row.name, "color": row.color, "isthing": int(row.id in _THINGS)}
            for row in CATEGORIES
        ],
    }
    write_annotations(about, root / "annotations" / f"panoptic_{split}2017.json")
