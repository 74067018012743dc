"""What one forced alignment found."""

from dataclasses import dataclass, field
from typing import Any

from align.force.call_order import PortOrder
from align.judge.comparison import Comparison
from align.judge.words import Words
from align.pairing.by_path import Pairing
from align.record.trace import Trace


@dataclass
class Findings:
    """What one forced alignment found. `judged` is `pairing` without layers of uneven calls."""

    trace: Trace
    port_order: PortOrder
    pairing: Pairing
    judged: Pairing
    moves: Any  # `align.rounding.floors.Floors`, or those of a stored trace
    comparisons: list[Comparison] = field(default_factory=list)
    complete: dict[str, Comparison] = field(default_factory=dict)  # parameters judged on the way
    notes: list[Words] = field(default_factory=list)
    unreached: list[Comparison] = field(default_factory=list)  # what these inputs do not show

    @property
    def values(self) -> list[Comparison]:
        """The comparisons of the forward pass."""
        return [call for call in self.comparisons if not call.at.is_gradient]

    @property
    def gradients(self) -> list[Comparison]:
        """The comparisons of the backward pass."""
        return [call for call in self.comparisons if call.at.is_gradient]
