"""What the step rung reads and sets of an optimizer of torch."""

import gc
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from align.arrays.arrays_torch import to_array
from align.rungs.training.step_start import refuse_closure
from common.errors import UserError


def usable(optimizer: Any) -> Any:
    """Return `optimizer` as it is; UserError where it is none of torch's kind."""
    needed = ("step", "zero_grad", "param_groups", "state", "defaults")
    missing = [name for name in needed if not hasattr(optimizer, name)]
    if missing:
        raise UserError(
            f"the reference's optimizer is of {type(optimizer).__name__}, which has no "
            f"{missing[0]}: --torch-optimizer (torch_optimizer) has to return a "
            "torch.optim.Optimizer"
        )
    refuse_closure(optimizer, "reference", "--torch-optimizer (torch_optimizer)")
    return optimizer


@contextmanager
def rounded_constants(optimizer: torch.optim.Optimizer, names: Set[str]) -> Iterator[None]:
    """Round the settings called `names` of every group to float32, as the port's optimizer does."""
    kept = [
        {name: group[name] for name in names if name in group} for group in optimizer.param_groups
    ]
    for group, settings in zip(optimizer.param_groups, kept, strict=True):
        group.update({name: as_float32(value) for name, value in settings.items()})
    try:
        yield
    finally:
        for group, settings in zip(optimizer.param_groups, kept, strict=True):
            group.update(settings)


def as_float32(value: Any) -> Any:
    """Return a number, or a tuple of numbers, as float32 holds it."""
    if isinstance(value, (tuple, list)):
        return tuple(map(as_float32, value))
    return float(np.float32(value))


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[int, float]:
    """Return {id of parameter: rate of its group}."""
    return {id(p): float(g["lr"]) for g in optimizer.param_groups for p in g["params"]}


def base_class(optimizer: torch.optim.Optimizer) -> type:
    """Return the first class of torch itself that `optimizer` is."""
    kinds = (kind for kind in type(optimizer).__mro__ if kind.__module__.startswith("torch.optim"))
    return next(kinds, torch.optim.Optimizer)


def group_of(optimizer: torch.optim.Optimizer, parameter: Any) -> dict[str, Any]:
    """Return the settings of the group that holds `parameter`."""
    for group in optimizer.param_groups:
        if any(held is parameter for held in group["params"]):
            return {name: value for name, value in group.items() if name != "params"}
    return dict(optimizer.defaults)


class Rates:
    """Sets the rate of a schedule; groups keep their ratio to the optimizer's own rate."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        base = optimizer.defaults.get("lr") or optimizer.param_groups[0]["lr"]
        self.optimizer = optimizer
        self.ratios = [
            group.get("lr_multiplier", group["lr"] / base if base else 1.0)
            for group in optimizer.param_groups
        ]

    def set(self, rate: float) -> None:
        """Set the rate of the next step."""
        for group, ratio in zip(self.optimizer.param_groups, self.ratios, strict=True):
            group["lr"] = rate * ratio


def slots(optimizer: torch.optim.Optimizer) -> dict[int, Mapping[str, np.ndarray]]:
    """Return {id of parameter: {slot: its values, in its memory}}; counters are left out."""
    return {
        id(parameter): {
            name: to_array(value)
            for name, value in state.items()
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape and name != "step"
        }
        for parameter, state in optimizer.state.items()
    }


class HeldSchedulers:
    """Schedulers of `optimizer`: it holds them, or the user's code does somewhere else.

    `out_of_reach` says that one was made and that nothing keeps it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        groups = getattr(optimizer, "param_groups", [])
        scheduled = any("initial_lr" in group for group in groups)
        self.found = list(_outermost(_schedulers_of(optimizer)))
        self.out_of_reach = scheduled and not self.found
        self._counts = [scheduler.last_epoch for scheduler in self.found]

    @property
    def name(self) -> str:
        """The names of their classes, "" for none."""
        return ", ".join(type(scheduler).__name__ for scheduler in self.found)

    def step(self, loss: float) -> None:
        """Step each after an update whose loss was `loss`, unless the update did so itself."""
        for scheduler, count in zip(self.found, self._counts, strict=True):
            if scheduler.last_epoch != count:
                continue
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(loss)
            else:
                scheduler.step()
        self._counts = [scheduler.last_epoch for scheduler in self.found]


def _schedulers_of(optimizer: torch.optim.Optimizer) -> Iterator[Any]:
    for held in gc.get_objects():
        # A lazy module answers for a class of its own when it is asked by isinstance.
        ours = issubclass(type(held), (LRScheduler, ReduceLROnPlateau))
        if ours and getattr(held, "optimizer", None) is optimizer:
            yield held


def _outermost(schedulers: Iterable[Any]) -> Iterator[Any]:
    """Yield those that no other one steps (SequentialLR, ChainedScheduler)."""
    found = list(schedulers)
    inside = {id(own) for each in found for own in getattr(each, "_schedulers", ())}
    yield from (each for each in found if id(each) not in inside)
