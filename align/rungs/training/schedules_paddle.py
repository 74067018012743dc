"""The scheduler that an optimizer of Paddle holds, stepped as its training loop would."""

from typing import Any

from paddle.optimizer.lr import LRScheduler, ReduceOnPlateau


class HeldScheduler:
    """The scheduler in `optimizer`, if it holds one.

    A rate may be forced on the optimizer between the steps: the schedule goes on from its own.
    """

    def __init__(self, optimizer: Any) -> None:
        held = getattr(optimizer, "_learning_rate", None)
        self.found: LRScheduler | None = held if isinstance(held, LRScheduler) else None
        if self.found is not None:
            self._rate, self._count = self.found.last_lr, self.found.last_epoch

    @property
    def name(self) -> str:
        """The name of its class, "" for none."""
        return "" if self.found is None else type(self.found).__name__

    def step(self, loss: float) -> None:
        """Step it after an update whose loss was `loss`, unless the update did so itself."""
        if self.found is None:
            return
        if self.found.last_epoch == self._count:
            self.found.last_lr = self._rate
            if isinstance(self.found, ReduceOnPlateau):
                self.found.step(loss)
            else:
                self.found.step()
        self._rate, self._count = self.found.last_lr, self.found.last_epoch
