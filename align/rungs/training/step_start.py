"""What both sides start a training step from, and how a user hands in what makes steps."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import UserError

OptimizerFactory = Callable[[list[Any]], Any]  # parameters -> optimizer
AverageFactory = Callable[[Any], Any]  # net -> the moving average of its weights
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


def unless_changed(array: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Return `before` where `array` has its very values, so that one of them is kept, not two."""
    return before if before is not None and np.array_equal(array, before) else array


def refuse_closure(optimizer: Any, side: str, option: str) -> None:
    """Raise UserError where a step of `optimizer` cannot be made without a closure (LBFGS).

    Its class is asked: torch's schedulers put a wrapper on the optimizer itself, whose signature
    begins with `self`.
    """
    of_class = getattr(type(optimizer), "step", None)
    try:
        step = of_class if of_class is not None else optimizer.step
        parameters = list(inspect.signature(step).parameters.values())[of_class is not None :]
    except (TypeError, ValueError):  # compiled: its step tells
        return
    empty = inspect.Parameter.empty
    named = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    needed = [p.name for p in parameters if p.kind in named and p.default is empty]
    if needed:
        raise UserError(
            f"could not check: the {side}'s optimizer {type(optimizer).__name__} takes a step only "
            f"with {needed[0]}: it runs the net several times a step, so that no update can be "
            f"judged alone. align_backward judges its gradients; for updates give {option} an "
            "optimizer whose step() needs nothing"
        )
