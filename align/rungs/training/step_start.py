"""What both sides start a training step from, and how a user hands in what makes steps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

OptimizerFactory = Callable[[list[Any]], Any]  # parameters -> optimizer
ScheduleFunction = Callable[[int], float]  # step, from 0 -> rate
Slots = dict[str, dict[str, np.ndarray]]  # by the port's key, by the slot's name in torch


@dataclass
class StepStart:
    """The reference's state before a step, in the port's layout, by the port's key.

    `gradients` are those of the step itself, once its backward pass has run.
    """

    weights: dict[str, np.ndarray]
    slots: Slots
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
