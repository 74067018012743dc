"""Metrics from exact integer counts; each in a file of its own."""

from common.metrics.dice import ForegroundDice
from common.metrics.iou import ABSENT_CLASS, ConfusionMatrix

__all__ = ["ABSENT_CLASS", "ConfusionMatrix", "ForegroundDice"]
