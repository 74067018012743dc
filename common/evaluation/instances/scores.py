"""Instance segmentation: objects, each with its mask, are found and told apart."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from common.data import Batch
from common.errors import DataError
from common.instances.post import PhotoObjects
from common.instances.sets.dataset import sizes_of
from common.metrics.mask_ap import FIGURES, average_precision, run_lengths_of
from common.settings.run import Settings

PREFIXES = {"segm": "", "bbox": "box_"}  # of the figures' names


class InstanceEvaluator:
    """COCO's twelve figures of masks and of boxes, and AP by class, by pycocotools.

    What is compared are rows in COCO's format, so parts of a set add up in any number of processes.

    Args:
        class_names: of the data set, by class.
    """

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self.class_names = class_names
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []

    def update(self, batch: Batch, prediction: Iterable[Any]) -> None:
        """Take the objects found in a batch.

        Args:
            batch: its target has "image" and "annotations", lists: see `InstanceDataset.truth`.
            prediction: of each image what `common.instances.post.FoundObjects` says.

        Raises DataError where the batch is one of another task.
        """
        target = batch.target
        if not isinstance(target, Mapping) or not {"image", "annotations"} <= set(target):
            raise DataError(
                "metric: average precision needs a target with image and annotations; give a data "
                "set of instances"
            )
        rows = zip(target["image"], target["annotations"], prediction, strict=True)
        for about, annotations, found in rows:
            self.images.append({name: about[name] for name in ("id", "height", "width")})
            self.annotations += [_object(row, about) for row in annotations]
            self.results += rows_of(found.at(*sizes_of(about)), about["id"])

    def counted(self) -> dict[str, Any]:
        """Return rows of images, annotations and results."""
        return {
            "images": self.images,
            "annotations": self.annotations,
            "results": self.results,
        }

    def take(self, counted: Sequence[dict[str, Any]]) -> None:
        """Put the rows of several `counted()` in place of its own."""
        self.reset()
        for part in counted:
            self.images += part["images"]
            self.annotations += part["annotations"]
            self.results += part["results"]

    def compute(self) -> dict[str, Any]:
        """Return the scores, 0..1, NaN where there is no object of the kind.

        ap, ap50, ap75, ap_small, ap_medium, ap_large, ar_1, ar_10, ar_100, ar_small, ar_medium,
        ar_large of masks; the same of boxes, box_ap and so on; ap_by_class and box_ap_by_class.
        """
        dataset = {
            "images": self.images,
            "categories": [{"id": number} for number in range(len(self.class_names))],
            "annotations": [
                {"id": number, **row} for number, row in enumerate(self.annotations, start=1)
            ],
        }
        scores: dict[str, Any] = {}
        by_class: dict[str, Any] = {}
        for kind, prefix in PREFIXES.items():
            found = average_precision(dataset, self.results, kind)
            figures = zip(FIGURES, found.figures.tolist(), strict=True)
            scores |= {f"{prefix}{name.lower()}": _there(value) for name, value in figures}
            own = [_there(found.by_category[k]) for k in range(len(self.class_names))]
            by_class[f"{prefix}ap_by_class"] = dict(zip(self.class_names, own, strict=True))
        return scores | by_class


def rows_of(found: PhotoObjects, image_id: int | str) -> list[dict[str, Any]]:
    """Return the objects of an image as results; category_id is the class, from 0."""
    corners = np.asarray(found.boxes, np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return [
        {
            "image_id": image_id,
            "category_id": int(label),
            "bbox": box.tolist(),
            "score": float(score),
            "segmentation": run_lengths_of(mask),
        }
        for label, box, score, mask in zip(
            found.labels, boxes, found.scores, found.masks, strict=True
        )
    ]


def _object(row: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return an annotation as COCOeval takes it; an area that is not annotated is the box's."""
    area = row["area"] if row["area"] is not None else row["bbox"][2] * row["bbox"][3]
    kept = {name: row[name] for name in ("category_id", "bbox", "segmentation", "iscrowd")}
    return {**kept, "area": area, "image_id": about["id"]}


def _there(value: float) -> float:
    return math.nan if value < 0 else value


def build_instances(
    settings: Settings, class_names: tuple[str, ...], ignore_index: int
) -> InstanceEvaluator:
    """Build it as a config says."""
    return InstanceEvaluator(class_names)
