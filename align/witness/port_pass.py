"""What a pass of the port shows, and what it is given of a graph, as arrays."""

from dataclasses import dataclass, field

import numpy as np

Key = tuple[str, int]  # (first path of a layer, number of its call)


@dataclass(frozen=True)
class FromGraph:
    """What the reference has for one call of one layer: arrays, None where it does not tell."""

    source: np.ndarray | None = None
    output: np.ndarray | None = None


@dataclass
class PortPass:
    """What one pass of the port showed.

    Attributes:
        sources, outputs: {call: array}, as they were before they gave way to those of the
            reference.
        returned: what the net returned, and the names that lead to each.
        followers: {a BatchNorm: the layer whose output it got}.
        order: the calls of every layer, as they began.
    """

    sources: dict[Key, np.ndarray] = field(default_factory=dict)
    outputs: dict[Key, np.ndarray] = field(default_factory=dict)
    returned: list[np.ndarray] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    followers: dict[str, str] = field(default_factory=dict)
    order: list[Key] = field(default_factory=list)
