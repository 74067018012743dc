"""Semantic segmentation: every pixel has one class."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.data import Batch
from common.metrics import ConfusionMatrix, ForegroundDice
from common.settings.run import Settings
from common.settings.schedules import Plateau


class SemanticEvaluator:
    """Intersection over union by class from exact integer counts, and pixel accuracy.

    Args:
        class_names: of the data set, by class.
        ignore_index: label of pixels that do not count.
        absent: what the IoU of a class is that occurs nowhere, a key of `ABSENT_CLASS`.
        dice: whether the Dice score of the foreground is computed, too.
    """

    def __init__(
        self,
        class_names: tuple[str, ...],
        ignore_index: int = 255,
        *,
        absent: str = "nan",
        dice: bool = False,
    ) -> None:
        self.class_names, self.ignore_index = class_names, ignore_index
        self.absent, self.with_dice = absent, dice
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        classes = len(self.class_names)
        self.counts = ConfusionMatrix(classes, self.ignore_index)
        self.dice = ForegroundDice(classes, self.ignore_index) if self.with_dice else None

    def update(self, batch: Batch, prediction: np.ndarray) -> None:
        """Count the classes predicted for a batch, int64 [N, H, W] as its label.

        Raises DataError as `ConfusionMatrix` does.
        """
        self.counts.update(prediction, batch.label)
        if self.dice:
            self.dice.update(prediction, batch.label)

    def counted(self) -> dict[str, Any]:
        """Return the confusion matrix, and the Dice scores of the images."""
        return {
            "counts": self.counts.counts.tolist(),
            "dice": self.dice.scores if self.dice else [],
        }

    def take(self, counted: Sequence[dict[str, Any]]) -> None:
        """Put the sum of several `counted()` in place of its own."""
        self.reset()
        for part in counted:
            self.counts.counts += np.array(part["counts"], np.int64)
            if self.dice:
                self.dice.scores += part["dice"]

    def compute(self) -> dict[str, Any]:
        """Return mean_iou, pixel_accuracy, where it is asked for dice, and iou by class name."""
        iou = self.counts.iou(self.absent).tolist()
        return {
            "mean_iou": self.counts.mean_iou(self.absent),
            "pixel_accuracy": self.counts.pixel_accuracy(),
            **({"dice": self.dice.mean()} if self.dice else {}),
            "iou": dict(zip(self.class_names, iou, strict=True)),
        }


def build_semantic(
    settings: Settings, class_names: tuple[str, ...], ignore_index: int
) -> SemanticEvaluator:
    """Build it as a config says: with Dice where the schedule or the early stop follows that."""
    schedule, stop = settings.schedule, settings.train.early_stop
    dice = isinstance(schedule, Plateau) and schedule.follows == "dice"
    dice = dice or (stop is not None and stop.metric == "dice")
    return SemanticEvaluator(class_names, ignore_index, absent=settings.evaluate.absent, dice=dice)
