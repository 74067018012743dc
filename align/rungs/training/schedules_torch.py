"""The schedulers that belong to an optimizer of torch, stepped as its training loop would."""

import gc
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau


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
