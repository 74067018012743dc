"""One call as it can be run again, with the calls inside."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from align.arrays.trees import map_leaves
from align.causes.steps import Steps, Value
from align.judge.words import Words
from align.record.trace import Call, Slot, nearest


@dataclass
class Replayed:
    """One call of the reference: arguments and outputs as arrays, and the calls made in it."""

    path: str
    args: tuple = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    inputs: list[np.ndarray] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    template: Any = None
    children: list["Replayed"] = field(default_factory=list)
    called: list[str] = field(default_factory=list)  # paths with another number of calls: glue
    steps: Steps = field(default_factory=Steps)
    # What is known of its arguments, as its own code and as the code around it has them, and of
    # its outputs likewise.
    given: list[Value] = field(default_factory=list)
    arrived: list[Value] = field(default_factory=list)
    returned: list[Value] = field(default_factory=list)
    passed: list[Value] = field(default_factory=list)


# (paths whose calls stand as calls inside, paths that have a partner and another number of calls,
# paths that are wanted, whether gradients flow) -> the first call of each that is wanted
ReplayedCalls = Callable[[set[str], set[str], set[str], bool], Mapping[str, Replayed]]


def replayed_from(calls: Iterable[Call]) -> ReplayedCalls:
    """Return what makes the calls to replay from recorded ones; their steps are not known."""

    def replayed(
        judged: set[str], uneven: set[str], wanted: set[str], gradients: bool
    ) -> dict[str, Replayed]:
        found: dict[str, Replayed] = {}
        owners: dict[int, Replayed] = {}
        for call in calls:
            around = nearest(call.parent, judged)
            above = None if around is None else owners.get(id(around))
            if call.path in uneven and above is not None:
                above.called.append(call.path)
            if call.path not in judged:
                continue
            keep = call.path in wanted and call.path not in found
            if not keep and above is None:
                continue
            own = _replayed(call)
            if above is not None:
                above.children.append(own)
            if keep:
                found[call.path] = owners[id(call)] = own
        return found

    return replayed


def _replayed(call: Call) -> Replayed:
    args, kwargs = map_leaves(
        call.arguments, lambda leaf: call.inputs[leaf.index] if isinstance(leaf, Slot) else leaf
    )
    return Replayed(call.path, args, kwargs, list(call.inputs), list(call.outputs), call.template)


@dataclass
class JudgedTensor:
    """One tensor at a boundary: `name` says where, `found` is None where the port gives none."""

    name: Words
    expected: np.ndarray
    found: np.ndarray | None

    @property
    def error(self) -> float:
        """Largest difference relative to the largest magnitude expected; infinite by shape."""
        if self.found is None or self.found.shape != self.expected.shape:
            return float("inf")
        if not self.expected.size:
            return 0.0
        if self.expected.dtype.kind not in "fc":
            return float((self.expected != self.found).any())
        scale = float(np.abs(self.expected).max()) or 1.0
        return float(np.nan_to_num(np.abs(self.found - self.expected), nan=np.inf).max()) / scale
