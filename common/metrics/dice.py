"""The Dice score of the foreground, averaged over images, as milesial/Pytorch-UNet validates."""

import math

import numpy as np

from common.metrics.iou import ConfusionMatrix, require_same_shape

EPSILON = 1e-6  # of numerator and denominator; utils/dice_score.py


class ForegroundDice:
    """Mean over all images of the mean over classes 1..C-1 of 2 |P and T| / (|P| + |T|).

    P are the pixels of a class in the prediction, T in the label; pixels that are void count in
    neither. A class that an image has in neither scores 1. With C = 1 there is no foreground: NaN.
    Source: milesial/Pytorch-UNet, evaluate.py, and multiclass_dice_coeff in utils/dice_score.py;
    theirs is a mean over batches of such means, which is the same for batches of one size.

    Args:
        num_classes: number of classes C.
        ignore_index: label of pixels that do not count.

    Attributes:
        scores: of the images so far.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.scores: list[float] = []

    def update(self, prediction: np.ndarray, label: np.ndarray) -> None:
        """Score a batch: both integers [N, H, W]. Raises DataError as `ConfusionMatrix` does."""
        require_same_shape(prediction, label)
        for predicted, true in zip(prediction, label, strict=True):
            matrix = ConfusionMatrix(self.num_classes, self.ignore_index)
            matrix.update(predicted, true)
            hit = np.diag(matrix.counts)[1:]
            sizes = (matrix.counts.sum(0) + matrix.counts.sum(1))[1:]
            dice = (2 * hit + EPSILON) / (sizes + EPSILON)
            self.scores.append(float(dice.mean()) if dice.size else math.nan)

    def mean(self) -> float:
        """Return the mean over the images so far; NaN before the first."""
        # Exact, so that the order in which processes saw the images does not matter.
        return math.fsum(self.scores) / len(self.scores) if self.scores else math.nan
