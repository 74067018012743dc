"""One call as it can be run again, with the calls inside."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from align.causes.steps import Steps, Value


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


@dataclass
class JudgedTensor:
    """One tensor at a boundary: `name` says where, `found` is None where the port gives none."""

    name: str
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
