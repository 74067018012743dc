"""All that a confusion matrix tells: as plain values, as a table, as one line."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from commands.entry import CHECKED_BAD, CHECKED_GOOD
from common.evaluation.evaluator import Evaluator
from common.evaluation.semantic import SemanticEvaluator
from common.metrics import ConfusionMatrix
from common.words.language import phrase


def counts_of(evaluator: Evaluator) -> ConfusionMatrix:
    """Return the counts of a semantic evaluator, whatever stands around it."""
    found: Any = evaluator
    while not isinstance(found, SemanticEvaluator):
        found = found.evaluator
    return found.counts


def scores_of(counts: ConfusionMatrix, class_names: tuple[str, ...], absent: str) -> dict[str, Any]:
    """Return the scores by name, NaN as None; `absent` is a key of `ABSENT_CLASS`."""
    iou, dice = counts.iou(absent), counts.dice(absent)
    there = dice[~np.isnan(dice)] if absent == "skip" else dice
    pixels = counts.counts.sum(1)
    return {
        "mean_iou": _plain(counts.mean_iou(absent)),
        "pixel_accuracy": _plain(counts.pixel_accuracy()),
        "frequency_weighted_iou": _plain(counts.frequency_weighted_iou()),
        "mean_dice": _plain(float(there.mean()) if there.size else math.nan),
        "pixels": int(pixels.sum()),
        "iou": _by_class(class_names, iou),
        "dice": _by_class(class_names, dice),
        "label_share": _by_class(class_names, pixels / max(int(pixels.sum()), 1)),
        "confusion": counts.counts.tolist(),
    }


def table_of(scores: Mapping[str, Any]) -> Table:
    """Return IoU, Dice and share of the pixels by class, for people."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(phrase("class"))
    for head in ("IoU", "Dice", phrase("share of pixels")):
        table.add_column(head, justify="right")
    for name, iou in scores["iou"].items():
        dice, share = scores["dice"][name], scores["label_share"][name]
        table.add_row(name, number(iou), number(dice), f"{100 * share:.2f} %")
    return table


def number(value: float | None) -> str:
    """Return a score with four digits, or that it is none."""
    return phrase("absent") if value is None else f"{value:.4f}"


def enough(score: float, least: float | None, words: str) -> tuple[int, str]:
    """Return the exit code of a score that is to be at least that, and `words` with it."""
    if least is None:
        return CHECKED_GOOD, words
    if score >= least:
        return CHECKED_GOOD, f"{words} >= {least:g}"
    return CHECKED_BAD, f"{words} < {least:g}"


def line_of(scores: Mapping[str, Any]) -> str:
    """Return the means in one line."""
    return phrase(
        "mIoU {mean}  pixel accuracy {accuracy}  frequency-weighted IoU {weighted}  Dice {dice}",
        mean=_mean(scores["mean_iou"]),
        accuracy=_mean(scores["pixel_accuracy"]),
        weighted=_mean(scores["frequency_weighted_iou"]),
        dice=_mean(scores["mean_dice"]),
    )


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _by_class(names: tuple[str, ...], values: np.ndarray) -> dict[str, float | None]:
    return {name: _plain(value) for name, value in zip(names, values.tolist(), strict=True)}


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
