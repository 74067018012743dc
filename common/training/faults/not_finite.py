"""A step whose loss or gradients are not finite, which goes into no weight."""

import math
from collections.abc import Callable, Mapping


class NotFinite(Exception):
    """A step was computed and not made: its loss or a gradient is NaN or infinite.

    losses: the terms of the loss and their sum, "loss".
    """

    def __init__(self, losses: Mapping[str, float]) -> None:
        super().__init__("the loss or a gradient is not finite")
        self.losses = dict(losses)

    @property
    def what(self) -> str:
        """What is not finite."""
        return "a gradient" if math.isfinite(self.losses["loss"]) else "the loss"


def require_finite(losses: Mapping[str, float], gradients: Callable[[], bool]) -> None:
    """Raise NotFinite where a step must not be made.

    losses: its terms and "loss". gradients: tells whether all of them are finite; only asked where
    the loss is.
    """
    if not (math.isfinite(losses["loss"]) and gradients()):
        raise NotFinite(losses)
