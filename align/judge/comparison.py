"""One comparison of two tensors, as data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from align.judge.where import Where
from align.judge.words import Cause
from common.documents import STRICT

EQUAL, DIFFERS, NOISE, UNCHECKED = "equal", "differs", "noise", "unchecked"


@dataclass
class Comparison:
    """One tensor of one call, judged.

    `relative_error` and `floor` are relative to the largest magnitude of the reference's tensor
    (absolute where that is 0). `layer` is the path in the port that a difference is blamed on, ""
    for the root; `call` the call at which it was seen. `cumulative` is the error of the same
    tensor in the plain pass, in which errors add up; `step` the training step, from 0.
    """

    __pydantic_config__: ClassVar = STRICT

    layer: str
    call: str
    where: str
    kind: str  # "layer" or "glue"
    shape: tuple[int, ...] = ()
    verdict: str = EQUAL
    relative_error: float = 0.0
    floor: float = 0.0
    worst_index: tuple[int, ...] | None = None
    reference_value: float | None = None
    port_value: float | None = None
    cumulative: float | None = None
    step: int | None = None
    cause: Cause | None = None
    kernels: list[str] = field(default_factory=list)
    # Largest magnitude of the reference's tensor: `relative_error` times it is absolute.
    scale: float | None = None
    # Of a sample, counts by decade of difference / scale: [0, below 1e-17, below 1e-16, ...].
    histogram: list[int] = field(default_factory=list)

    @property
    def at(self) -> Where:
        """Which tensor it is: `where`, read."""
        return Where.of(self.where)

    @property
    def severity(self) -> tuple[bool, bool, float]:
        """What the worst of several has most of: what is equal but for a known cause, least."""
        differs = self.verdict == DIFFERS
        return differs, differs or not self.cause, self.relative_error


def unless_compared(comparisons: Sequence[Comparison], kind: str) -> list[Comparison]:
    """Return one comparison that could not be made where there is none; else nothing.

    `kind` is that of its cause.
    """
    return [] if comparisons else [not_compared(Cause(kind))]


def not_compared(cause: Cause) -> Comparison:
    """Return a comparison that could not be made, and why."""
    return Comparison("", "", "output", "glue", verdict=UNCHECKED, cause=cause)
