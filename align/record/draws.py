"""The random numbers that a call of the reference drew, as a port's call gets them again.

Either side may draw a mask (dropout, Bernoulli) or uniform numbers that its code compares with a
rate: each stands for the other.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

DrawKind = Literal["mask", "uniform", "normal", "unknown"]
MASK: DrawKind = "mask"
UNIFORM: DrawKind = "uniform"
NORMAL: DrawKind = "normal"
UNKNOWN: DrawKind = "unknown"

# How near the rate uniform numbers lie that stand for a mask: any other rate turns them over.
NEAR = 1e-6

CallKey = tuple[str, int]  # path of a module, its k-th call


@dataclass(frozen=True, eq=False)
class Draw:
    """What one random function of the reference gave.

    Attributes:
        function: its name.
        kind: MASK, UNIFORM, NORMAL, or UNKNOWN, which cannot be given again.
        calls: the calls that were running, outermost first.
        values: what it gave, any shape.
        low, high: the range of uniform numbers; mean and deviation of normal ones.
        keep: the probability of True in a mask, where it is one number.
    """

    function: str
    kind: DrawKind
    calls: tuple[CallKey, ...]
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    low: float = 0.0
    high: float = 1.0
    keep: float | None = None

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"{self.function} {list(self.values.shape)}"

    def owner(self, judged: Collection[str]) -> CallKey | None:
        """Return the innermost running call of a path in `judged`: whose code it belongs to."""
        return next((key for key in reversed(self.calls) if key[0] in judged), None)


def by_owner(draws: Iterable[Draw], judged: Collection[str]) -> dict[CallKey, list[Draw]]:
    """Return {call of a path in `judged`: what its own code drew, in order}."""
    found: dict[CallKey, list[Draw]] = {}
    for draw in draws:
        key = draw.owner(judged)
        if key is not None:
            found.setdefault(key, []).append(draw)
    return found
