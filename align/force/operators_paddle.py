"""Which inexact operators of Paddle the code of a port calls."""

from functools import cached_property
from typing import Any

from align.arrays.trees import leaves
from align.judge.operators import OPERATORS, Operator
from align.nets.layers_paddle import holds_float32_constants
from align.pairing.attributes import CLASS
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.record.draws import CallKey
from align.record.trace import Call, Trace, nearest


class InexactOperators:
    """What `align.nets.casts.told` tells of a run of the port.

    `errors` has those of each call of the reference whose partner's code calls a row of
    `OPERATORS`: (of values, of gradients). `running` are the calls that run now, with their path
    in the port.
    """

    def __init__(self, sides: Sides[Reference], trace: Trace) -> None:
        self.sides, self.trace = sides, trace
        self.running: list[tuple[str, Call]] = []
        self.errors: dict[CallKey, tuple[float, float]] = {}

    def called(self, name: str, args: tuple, kwargs: dict[str, Any]) -> None:
        """Note an operator."""
        row = OPERATORS.get(name)
        if row is None or not self.running:
            return
        path, call = self.running[-1]
        if self._allowed_already(path, call, row):
            return
        found = row.errors(leaves((args, kwargs)))
        if any(found):
            before = self.errors.get(call.key, (0.0, 0.0))
            self.errors[call.key] = before[0] + found[0], before[1] + found[1]

    def _allowed_already(self, path: str, call: Call, row: Operator) -> bool:
        """Tell whether the reference errs in its place, or holds the same rounded number."""
        if any(
            f"{function}:" in words
            for words in self._kernels[call.key]
            for function in row.functions
        ):
            return True
        layer = self.sides.layers[path]
        if getattr(layer, "exact_constants", False):
            return True
        stock = self.sides.reference.attributes(call.path).get(CLASS, "")
        rounded = str(stock).endswith("Norm") and holds_float32_constants(layer)
        return rounded and row.share > 0.0

    @cached_property
    def _kernels(self) -> dict[CallKey, set[str]]:
        """Return {call of a layer with a partner: rows that its code calls}."""
        matched = set(self.sides.pairing.reference_group)
        found: dict[CallKey, set[str]] = {call.key: set(call.kernels) for call in self.trace.calls}
        for call in self.trace.calls:
            above = nearest(call, matched)
            if above is not None:
                found[above.key] |= call.kernels
        return found
