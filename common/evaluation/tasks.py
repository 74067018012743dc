"""What tasks differ in beside their scores: how a net is asked, and how its answer is painted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.data.batch import Target
from common.evaluation.gallery import Paint, Pictures
from common.evaluation.instances.masks import PaintObjects, ask_instances
from common.evaluation.panoptic_maps import PaintSegments, ask_panoptic
from common.evaluation.protocol import Ask, predict
from common.evaluation.volumetric import PaintVolumes
from common.settings.run import Settings
from common.volumes.sliding import ask_volume


@dataclass(frozen=True)
class TaskWays:
    """A row of the table of tasks.

    ask: of the settings, what asks a net for its prediction. paint: of settings and colours of the
    classes, uint8 [256, 3] RGB, what paints targets and predictions.
    """

    ask: Callable[[Settings], Ask]
    paint: Callable[[Settings, np.ndarray], Paint]


def _paint_classes(settings: Settings, colors: np.ndarray) -> Paint:
    def paint(target: Target, prediction: np.ndarray) -> tuple[Pictures, Pictures]:
        assert isinstance(target, np.ndarray)
        return list(colors[target]), list(colors[prediction])

    return paint


TASKS: dict[str, TaskWays] = {
    "semantic": TaskWays(lambda settings: predict, _paint_classes),
    "panoptic": TaskWays(ask_panoptic, PaintSegments),
    "instances": TaskWays(ask_instances, PaintObjects),
    "volumetric": TaskWays(ask_volume, PaintVolumes),
}


def ask_of(settings: Settings) -> Ask:
    """Return how the config's net is asked for the prediction of its task."""
    return TASKS[settings.model.task].ask(settings)


def paint_of(settings: Settings, colors: np.ndarray) -> Paint:
    """Return what paints targets and predictions of the config's net."""
    return TASKS[settings.model.task].paint(settings, colors)
