"""Evaluators: one a task. Which one a net gets, the `task` of its row says.

To add a task: a class with the three methods in a file of its own, a function that builds it from
the settings, and a row of `EVALUATORS`; then rows of `common.pairs.PAIRS` may name it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from common.data import Batch
from common.evaluation.instances.scores import build_instances
from common.evaluation.panoptic import build_panoptic
from common.evaluation.semantic import build_semantic
from common.evaluation.volumetric import build_volumetric
from common.settings.run import Settings


class Evaluator(Protocol):
    """Scores what a net predicts for a whole set, batch by batch."""

    def reset(self) -> None:
        """Begin anew: nothing was seen."""
        ...

    def update(self, batch: Batch, prediction: np.ndarray) -> None:
        """Count what was predicted for `batch.image` against what is true.

        What is true is the batch's `target`: of semantic nets its label, int64 [N, H, W], and the
        prediction is of that shape. Raises DataError where they do not fit.
        """
        ...

    def compute(self) -> dict[str, Any]:
        """The scores so far by name: numbers, and by class name where there is one a class.

        "mean_iou" or "ap" is among them; the weights of the highest "pq" or "ap", where there is
        one, or else "mean_iou" are a run's best ones.
        """
        ...


@runtime_checkable
class Additive(Protocol):
    """An evaluator whose counts of parts of a set add up to those of the whole."""

    def counted(self) -> Any:
        """What was counted so far, in what JSON has."""
        ...

    def take(self, counted: Sequence[Any]) -> None:
        """Put the sum of several `counted()` in place of its own."""
        ...


# (settings, names of the classes, the label of pixels that do not count) -> evaluator
BuildEvaluator = Callable[[Settings, tuple[str, ...], int], Evaluator]

EVALUATORS: dict[str, BuildEvaluator] = {
    "semantic": build_semantic,
    "panoptic": build_panoptic,
    "instances": build_instances,
    "volumetric": build_volumetric,
}


def build_evaluator(
    settings: Settings, class_names: tuple[str, ...], ignore_index: int
) -> Evaluator:
    """The evaluator of the config's net, by its task."""
    return EVALUATORS[settings.model.task](settings, class_names, ignore_index)
