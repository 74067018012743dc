"""What one forced alignment found."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from align.force.call_order import PortOrder
from align.judge.compare import Allowance
from align.judge.comparison import Comparison
from align.judge.words import Words
from align.pairing.by_path import Pairing
from align.pairing.tensors import ancestors
from align.record.draws import CallKey
from align.record.trace import Trace, around


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
    # Calls whose code in the port calls an inexact operator: (of values, of gradients).
    inexact: Mapping[CallKey, tuple[float, float]] = field(default_factory=dict)
    # The reference's discrete steps on which the port's code was judged, by call and number.
    chosen: set[tuple[CallKey, int]] = field(default_factory=set)
    unreached: list[Comparison] = field(default_factory=list)  # what these inputs do not show
    whole: Trace | None = None  # of the free run of a loss that differentiates the net

    def allow_gradient(self, parameter: str) -> Allowance:
        """Return what rounding explains of the gradient of a parameter of the reference."""
        allowed: Allowance = self.moves.allow(("", 0, f"grad:{parameter}"))
        if not self.inexact:
            return allowed
        holder = parameter.rpartition(".")[0]
        calls = (call for call in self.trace.calls if call.path == holder)
        using = {*ancestors(holder), *around(calls)}
        errors = [both[1] for (path, _), both in self.inexact.items() if path in using]
        return replace(allowed, inexact=max(errors)) if errors else allowed

    @property
    def values(self) -> list[Comparison]:
        """The comparisons of the forward pass."""
        return [call for call in self.comparisons if not call.at.is_gradient]

    @property
    def gradients(self) -> list[Comparison]:
        """The comparisons of the backward pass."""
        return [call for call in self.comparisons if call.at.is_gradient]
