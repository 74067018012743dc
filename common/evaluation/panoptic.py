"""Panoptic segmentation: every pixel has a class, and the things are told apart."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from common.data import Batch
from common.errors import DataError
from common.metrics import ConfusionMatrix
from common.metrics.iou import require_same_shape
from common.metrics.panoptic import image_matches
from common.metrics.quality import FN, FP, IOU, QUALITIES, TP, class_quality, quality_of_groups
from common.panoptic.files import apart_from_void
from common.panoptic.overlaps import overlaps
from common.panoptic.segments import semantic_of, thing_ids
from common.settings.run import Settings

GROUPS = {"All": "", "Things": "_things", "Stuff": "_stuff"}


class PanopticEvaluator:
    """Panoptic quality by class and of groups, and IoU by class.

    The same in any number of processes: counts are whole numbers, and the IoUs of matches are kept
    one by one until their exact sum is rounded once.

    Args:
        class_names: of the data set, by class.
        things: the classes that are things, or a truth value for every class.
        label_divisor: of predictions, which are class * label_divisor + number.
        ignore_index: label of pixels that do not count in the IoU.
        absent: what the IoU of a class is that occurs nowhere, a key of `ABSENT_CLASS`.
    """

    def __init__(
        self,
        class_names: tuple[str, ...],
        things: Collection[int] | np.ndarray,
        *,
        label_divisor: int = 1000,
        ignore_index: int = 255,
        absent: str = "nan",
    ) -> None:
        self.class_names, self.label_divisor = class_names, label_divisor
        known = thing_ids(things)
        self.things = [number in known for number in range(len(class_names))]
        self.ignore_index, self.absent = ignore_index, absent
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        classes = len(self.class_names)
        # One column more: pixels that are predicted as void are right for no class.
        self.confusion = ConfusionMatrix(classes + 1, self.ignore_index)
        self.segments = np.zeros((classes, 4), np.int64)
        self.ious: list[list[float]] = [[] for _ in range(classes)]

    def update(self, batch: Batch, prediction: np.ndarray) -> None:
        """Count the segments of a batch.

        Args:
            batch: its target has "ids", uint32 [N, H, W], 24 bits, 0 void, and "segments", a list
                for each image, of rows with id, category_id (class), iscrowd and area.
            prediction: int64 [N, H, W], class * label_divisor + number, void negative. Or
                [N, 2, H, W]: the second are the classes of which the IoU is.

        Raises DataError where they do not fit.
        """
        target = batch.target
        if not isinstance(target, Mapping) or not {"ids", "segments"} <= set(target):
            raise DataError(
                "metric: panoptic quality needs a target with ids and segments; give a panoptic "
                "data set"
            )
        maps = prediction[:, 0] if prediction.ndim == 4 else prediction
        require_same_shape(maps, target["ids"])
        for number, (ids, rows) in enumerate(zip(target["ids"], target["segments"], strict=True)):
            self._count(ids, rows, maps[number])
            classes = prediction[number, 1] if prediction.ndim == 4 else self._classes(maps[number])
            self.confusion.update(classes, semantic_of(ids, rows))

    def _classes(self, panoptic: np.ndarray) -> np.ndarray:
        none = len(self.class_names)
        return np.where(panoptic < 0, none, panoptic // self.label_divisor)

    def _count(self, ids: np.ndarray, rows: Sequence[Any], panoptic: np.ndarray) -> None:
        shared = overlaps(ids, apart_from_void(panoptic, self.label_divisor))
        guessed = [
            {"id": number, "category_id": number // self.label_divisor - 1}
            for number in shared.areas()[1]
            if number
        ]
        wrong = [row for row in guessed if row["category_id"] >= len(self.class_names)]
        if wrong:
            raise DataError(
                f"metric: prediction must be of classes 0..{len(self.class_names) - 1}, got "
                f"{wrong[0]['category_id']} with a label_divisor of {self.label_divisor}"
            )
        found = image_matches(shared, rows, guessed)
        for category, iou in found.hits:
            self.ious[category].append(iou)
            self.segments[category, TP] += 1
        for column, categories in ((FN, found.missed), (FP, found.false)):
            np.add.at(self.segments[:, column], np.array(categories, np.int64), 1)

    def counted(self) -> dict[str, Any]:
        """Return confusion matrix, counts of segments, and the IoUs of matches by class."""
        return {
            "confusion": self.confusion.counts.tolist(),
            "segments": self.segments.tolist(),
            "ious": self.ious,
        }

    def take(self, counted: Sequence[dict[str, Any]]) -> None:
        """Put the sum of several `counted()` in place of its own."""
        self.reset()
        for part in counted:
            self.confusion.counts += np.array(part["confusion"], np.int64)
            self.segments += np.array(part["segments"], np.int64)
            for own, more in zip(self.ious, part["ious"], strict=True):
                own += more

    def counts(self) -> np.ndarray:
        """Return the counts by class, float64 [classes, 4]: see `common.metrics.quality`."""
        counts = self.segments.astype(np.float64)
        counts[:, IOU] = [math.fsum(ious) for ious in self.ious]
        return counts

    def compute(self) -> dict[str, Any]:
        """Return the scores, 0..1.

        pq, sq, rq, with _things and _stuff: means over the classes of which there are segments.
        pq_by_class, sq_by_class, rq_by_class: NaN of one without. mean_iou, pixel_accuracy, and iou
        by class name.
        """
        counts = self.counts()
        scores: dict[str, Any] = {}
        for group, means in quality_of_groups(counts, self.things).items():
            scores |= {f"{name}{GROUPS[group]}": means[name] for name in QUALITIES}
        none = dict.fromkeys(QUALITIES, math.nan)
        rows = [class_quality(row) if any(row[TP:]) else none for row in counts.tolist()]
        for name in none:
            own = [row[name] for row in rows]
            scores[f"{name}_by_class"] = dict(zip(self.class_names, own, strict=True))
        iou = self.confusion.iou(self.absent)[:-1]
        there = iou[~np.isnan(iou)] if self.absent == "skip" else iou
        return {
            **scores,
            "mean_iou": float(there.mean()) if there.size else math.nan,
            "pixel_accuracy": self.confusion.pixel_accuracy(),
            "iou": dict(zip(self.class_names, iou.tolist(), strict=True)),
        }


def build_panoptic(
    settings: Settings, class_names: tuple[str, ...], ignore_index: int
) -> PanopticEvaluator:
    """Build it as a config says."""
    return PanopticEvaluator(
        class_names,
        settings.data.things,
        label_divisor=settings.evaluate.post.options["label_divisor"],
        ignore_index=ignore_index,
        absent=settings.evaluate.absent,
    )
