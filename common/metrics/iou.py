"""Intersection over union from a confusion matrix of exact integer counts."""

import math
from typing import Final

import numpy as np

from common.errors import ConfigError, DataError

# What the IoU of a class is that occurs neither in the labels nor in the predictions (0 / 0).
ABSENT_CLASS: Final[dict[str, float]] = {
    "nan": math.nan,  # STDC-Seg, evaluation.py: NaN, and so is the plain mean over all classes
    "skip": math.nan,  # cityscapesScripts, evalPixelLevelSemanticLabeling.py: left out of the mean
    "zero": 0.0,  # semseg, tool/train.py: intersection / (union + 1e-10)
    "one": 1.0,  # PaddleSeg, utils/metrics.py
}


class ConfusionMatrix:
    """Counts of (true class, predicted class) over all pixels that are not void.

    Integers throughout: the authors' float32 histogram loses single pixels above 2^24 per cell.

    Args:
        num_classes: number of classes C.
        ignore_index: label of pixels that do not count.

    Attributes:
        counts: int64 [C, C]; row = label, column = prediction.

    Raises ConfigError where there is no class, or the ignored label is one.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        if num_classes < 1 or 0 <= ignore_index < num_classes:
            raise ConfigError(
                f"confusion matrix: expected at least one class and an ignored label that is none "
                f"of them, got {num_classes} classes, ignore_index {ignore_index}"
            )
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, prediction: np.ndarray, label: np.ndarray) -> None:
        """Count a batch: both of one shape and any integer dtype; nothing broadcasts.

        Raises:
            DataError: shapes differ, not integers, a prediction that is no class (also where the
                label is void), or a label that is neither a class nor void.
        """
        prediction, label = np.asarray(prediction), np.asarray(label)
        require_same_shape(prediction, label)
        keep = label != self.ignore_index
        self._require_classes("prediction", prediction, "")
        self._require_classes("label", label[keep], f" or {self.ignore_index} (void)")
        cell = label[keep].astype(np.int64) * self.num_classes + prediction[keep].astype(np.int64)
        counts = np.bincount(cell, minlength=self.num_classes**2).astype(np.int64)
        self.counts += counts.reshape(self.num_classes, self.num_classes)

    def iou(self, absent: str = "nan") -> np.ndarray:
        """Intersection over union of every class, 0..1: float64 [C].

        Args:
            absent: a key of `ABSENT_CLASS`, for classes that occur nowhere.
        """
        value = _absent_value(absent)
        hit = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - hit
        return np.divide(hit, union, out=np.full(len(hit), value), where=union > 0)

    def mean_iou(self, absent: str = "nan") -> float:
        """Mean of `iou(absent)` over all classes; with "skip" over those that occur.

        NaN with "nan" if any class occurs nowhere, with "skip" if none occurs.
        """
        iou = self.iou(absent)
        if absent == "skip":
            iou = iou[~np.isnan(iou)]
        return float(iou.mean()) if iou.size else math.nan

    def pixel_accuracy(self) -> float:
        """Share of the counted pixels that are right, 0..1; NaN if none was counted."""
        total = int(self.counts.sum())
        return int(np.trace(self.counts)) / total if total else math.nan

    def dice(self, absent: str = "nan") -> np.ndarray:
        """Dice score of every class, 2 |P and T| / (|P| + |T|) over all images: float64 [C].

        absent: as of `iou`.
        """
        value = _absent_value(absent)
        sizes = self.counts.sum(0) + self.counts.sum(1)
        hit = 2 * np.diag(self.counts)
        return np.divide(hit, sizes, out=np.full(len(hit), value), where=sizes > 0)

    def frequency_weighted_iou(self) -> float:
        """IoU averaged over the classes, each weighted by its share of the labels' pixels.

        NaN if no pixel was counted. Source: Long, Shelhamer, Darrell, CVPR 2015, section 5.
        """
        pixels = self.counts.sum(1)
        total = int(pixels.sum())
        if not total:
            return math.nan
        there = pixels > 0
        return float((pixels[there] * self.iou("zero")[there]).sum() / total)

    def _require_classes(self, what: str, values: np.ndarray, or_else: str) -> None:
        if values.dtype.kind not in "iu":
            raise DataError(f"metric: {what} must be integers, got {values.dtype}")
        wrong = values[(values < 0) | (values >= self.num_classes)]
        if wrong.size:
            raise DataError(
                f"metric: {what} must be 0..{self.num_classes - 1}{or_else}, got {int(wrong[0])} "
                f"({wrong.size} such pixels)"
            )


def require_same_shape(prediction: np.ndarray, label: np.ndarray) -> None:
    """Raise DataError where the shapes of two maps of classes differ; nothing broadcasts."""
    if prediction.shape != label.shape:
        raise DataError(
            f"metric: prediction has shape {prediction.shape}, label {label.shape}; "
            "they must be equal (argmax over the classes, at label size)"
        )


def _absent_value(absent: str) -> float:
    if absent not in ABSENT_CLASS:
        raise ConfigError(f"absent: expected one of {', '.join(ABSENT_CLASS)}, got {absent!r}")
    return ABSENT_CLASS[absent]
