"""Schedules of the user's own as functions of the step, whatever they are made of."""

import math
from collections.abc import Callable
from typing import Any

from align.rungs.data import as_array
from commands.subjects.named.config import Own
from common.errors import UserError

Rate = Callable[[int], float]  # step, from 0 -> rate


def called_rate(own: Own) -> Rate:
    """Return the rate that a function of the step gives; UserError where that is none."""

    def rate(step: int) -> float:
        return checked(own(step), f"{own}, step {step}")

    return rate


class SteppedRate:
    """The rates of a scheduler that nothing else steps, remembered: any step can be asked for.

    `read` gives the present rate, `advance` steps the scheduler once.
    """

    def __init__(self, own: Any, read: Callable[[], float], advance: Callable[[], None]) -> None:
        self.own, self.read, self.advance = own, read, advance
        self.rates = [self._now()]

    def __call__(self, step: int) -> float:
        """Return the rate of update `step`."""
        while len(self.rates) <= step:
            self.advance()
            self.rates.append(self._now())
        return self.rates[step]

    def _now(self) -> float:
        return checked(self.read(), f"{self.own}, step {len(getattr(self, 'rates', ()))}")


def checked(value: Any, what: str) -> float:
    """Return a rate; UserError where it is no finite number of at least 0."""
    try:
        rate = float(as_array(value))
    except (TypeError, ValueError):
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise UserError(
            f"{what}: gave {value!r:.60} as the rate; expected a finite number from 0 on"
        )
    return rate
