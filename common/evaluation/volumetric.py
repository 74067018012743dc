"""Segmentation of volumes: every voxel has one class, or is in some of several masks."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from common.data import Batch
from common.data.batch import Target
from common.errors import DataError
from common.evaluation.gallery import Pictures
from common.metrics.iou import require_same_shape
from common.settings.run import Settings
from common.settings.volumes import MASKS, VolumeKeys
from common.volumes.pictures import as_classes, label_slices

HIT, FALSE, MISSED, RIGHT, COUNTED = range(5)  # columns of the counts of a class
IOU_EPSILON = 1e-8  # of numerator and denominator; pytorch3dunet/unet3d/metrics.py, MeanIoU


class VolumeEvaluator:
    """IoU and Dice by class from exact counts of voxels, and the authors' mean IoU of a volume.

    Args:
        class_names: of the classes, or of the masks.
        masks: each class is a mask of its own; else a voxel has one class.
        ignore_index: label of voxels that do not count.
        absent: what the IoU of a class is that occurs nowhere, a key of `ABSENT_CLASS`.
    """

    def __init__(
        self,
        class_names: tuple[str, ...],
        *,
        masks: bool = False,
        ignore_index: int = 255,
        absent: str = "nan",
    ) -> None:
        self.class_names, self.masks = class_names, masks
        self.ignore_index, self.absent = ignore_index, absent
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.counts = np.zeros((len(self.class_names), 5), np.int64)
        self.volumes: list[float] = []

    def update(self, batch: Batch, prediction: np.ndarray) -> None:
        """Count the voxels predicted for a batch, of whole numbers, of its label's shape.

        That is [N, D, H, W] of classes, [N, C, D, H, W] of masks of 0 and 1. Raises DataError
        where they do not fit.
        """
        label = batch.label
        require_same_shape(prediction, label)
        for found, true in zip(prediction, label, strict=True):
            counts = self._counted(found, true)
            self.counts += counts
            first = 0 if self.masks else 1  # the background does not count
            self.volumes.append(_mean_iou(counts[first:]))

    def _counted(self, found: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return the counts of one volume, int64 [classes, 5]."""
        classes, valid = len(self.class_names), true != self.ignore_index
        most = 1 if self.masks else classes - 1
        for what, values in (("prediction", found), ("label", true[valid])):
            if values.size and not 0 <= int(values.min()) <= int(values.max()) <= most:
                raise DataError(
                    f"metric: {what} must be 0..{most}, got {int(values.min())} to "
                    f"{int(values.max())}"
                )
        rows = []
        for number in range(classes):
            keep = valid[number] if self.masks else valid
            p, t = (
                (values[number] == 1 if self.masks else values == number) & keep
                for values in (found, true)
            )
            hit, predicted, there = int((p & t).sum()), int(p.sum()), int(t.sum())
            counted = int(keep.sum())
            right = counted - predicted - there + 2 * hit if self.masks else hit
            rows.append((hit, predicted - hit, there - hit, right, counted))
        return np.array(rows, np.int64)

    def counted(self) -> dict[str, Any]:
        """Return counts of voxels, and the mean IoU of each volume."""
        return {"counts": self.counts.tolist(), "volumes": self.volumes}

    def take(self, counted: Sequence[dict[str, Any]]) -> None:
        """Put the sum of several `counted()` in place of its own."""
        self.reset()
        for part in counted:
            self.counts += np.array(part["counts"], np.int64)
            self.volumes += part["volumes"]

    def compute(self) -> dict[str, Any]:
        """Return the scores, 0..1.

        mean_iou: over the classes, or masks, from all voxels. pixel_accuracy: share of the voxels
        that are right, of masks of those of each. voxels: how many count. dice: the mean over the
        classes but the first, of masks over all. volume_iou: the authors' MeanIoU: that of a volume
        without the background, averaged over the volumes. iou, dice_by_class and label_share by
        class name.
        """
        hit, false, missed, right, counted = self.counts.T
        iou, dice = (
            self._share(hit, hit + false + missed),
            self._share(2 * hit, 2 * hit + false + missed),
        )
        total = int(counted.sum()) if self.masks else int(counted[0])
        scores = {
            "mean_iou": self._mean(iou),
            "pixel_accuracy": int(right.sum()) / total if total else math.nan,
            "dice": self._mean(dice[0 if self.masks else 1 :]),
            "voxels": total,
            "volume_iou": math.fsum(self.volumes) / len(self.volumes) if self.volumes else math.nan,
        }
        shares = (hit + missed) / np.maximum(counted, 1)
        by_class = {"iou": iou, "dice_by_class": dice, "label_share": shares}
        return scores | {
            name: dict(zip(self.class_names, values.tolist(), strict=True))
            for name, values in by_class.items()
        }

    def _share(self, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        value = {"zero": 0.0, "one": 1.0}.get(self.absent, math.nan)
        return np.divide(part, whole, out=np.full(len(part), value), where=whole > 0)

    def _mean(self, values: np.ndarray) -> float:
        there = values[~np.isnan(values)] if self.absent == "skip" else values
        return float(there.mean()) if there.size else math.nan


def _mean_iou(counts: np.ndarray) -> float:
    """Return the authors' mean IoU of a volume, of the counts of its classes."""
    hit, union = counts[:, HIT], counts[:, HIT] + counts[:, FALSE] + counts[:, MISSED]
    return float(((hit + IOU_EPSILON) / (union + IOU_EPSILON)).mean())


def as_of_classes(logits: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels in the form of classes, for who counts these.

    Of masks, [N, C, D, H, W] both, each channel is an image of its own, of which 0 is the logit of
    what is outside: [N * C, 2, D, H, W] and [N * C, D, H, W].
    """
    if label.ndim < logits.ndim:
        return logits, label
    flat = logits.reshape(-1, *logits.shape[2:])
    return np.stack([np.zeros_like(flat), flat], 1), label.reshape(flat.shape)


def build_volumetric(
    settings: Settings, class_names: tuple[str, ...], ignore_index: int
) -> VolumeEvaluator:
    """Build it as a config says."""
    data = settings.data
    assert isinstance(data, VolumeKeys)
    return VolumeEvaluator(
        class_names,
        masks=data.label_form == MASKS,
        ignore_index=ignore_index,
        absent=settings.evaluate.absent,
    )


class PaintVolumes:
    """Paints truths and predictions of volumes, three slices of each: `Paint`."""

    def __init__(self, settings: Settings, colors: np.ndarray) -> None:
        data = settings.data
        assert isinstance(data, VolumeKeys)
        self.masks, self.colors = data.label_form == MASKS, colors

    def __call__(self, target: Target, prediction: np.ndarray) -> tuple[Pictures, Pictures]:
        """Return pictures of labels and of predictions, uint8 [h, w, 3] each."""
        assert isinstance(target, np.ndarray)
        truths, found = ([self.picture(one) for one in label] for label in (target, prediction))
        return truths, found

    def picture(self, label: np.ndarray) -> np.ndarray:
        """Return three slices of classes [D, H, W], or of masks [C, D, H, W], in colours."""
        return self.colors[label_slices(as_classes(label) if self.masks else label)]
