"""Scores of volumes: as plain values, and as one line."""

from collections.abc import Mapping
from typing import Any

from commands.evaluate.scores import number
from common.documents import with_null
from common.words.language import phrase


def scores_of_volumes(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a `VolumeEvaluator` gave under the names that semantic nets have, NaN as None.

    volume_iou, the mean IoU of a volume without the background, stands beside them.
    """
    names = {"mean_iou": "mean_iou", "pixel_accuracy": "pixel_accuracy", "mean_dice": "dice"}
    names |= {"volume_iou": "volume_iou", "iou": "iou", "dice": "dice_by_class"}
    names |= {"label_share": "label_share", "pixels": "voxels"}
    return {name: with_null(scores[own]) for name, own in names.items()}


def line_of_volumes(scores: Mapping[str, Any]) -> str:
    """Return the means in one line."""
    return phrase(
        "mIoU {mean}  voxel accuracy {accuracy}  Dice {dice}  mIoU of a volume {volume}",
        mean=number(scores["mean_iou"]),
        accuracy=number(scores["pixel_accuracy"]),
        dice=number(scores["mean_dice"]),
        volume=number(scores["volume_iou"]),
    )
