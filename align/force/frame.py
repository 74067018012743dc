"""What is known of one running call of the port's code."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from align.judge.words import Cause
from align.record.choices.choice import Choice
from align.record.trace import Call, CallPlace, Cotangent, HandedOn, RunAgain


class NeedsWholeRun(RunAgain):
    """A tensor is needed that was dropped: the port's code does not just hand it on."""


@dataclass
class Seen:
    """One tensor shown to the judge.

    `culprit` is the path whose own code made it and `code` that code's call; `call` is the call
    at whose boundary it was seen. `expected` is None where the reference has no gradient, `found`
    likewise. Where the numbers of tensors differ, `counts` is (found, expected).
    """

    culprit: str
    code: Call
    call: Call
    where: str
    expected: Cotangent = None
    found: Any | None = None
    counts: tuple[int, int] | None = None
    raised: Cause | None = None  # what the code raised in place of an output
    cause: Cause | None = None  # why it differs, if it does
    # All that was handed on with it: the reference's arrays and the port's tensors.
    beside: tuple[Sequence[np.ndarray], Sequence[Any]] = ((), ())

    @property
    def place(self) -> CallPlace:
        """The key of the tensor in the recording."""
        return self.call.place(self.where)


@dataclass
class RunningCall:
    """A judged call that is running: where its backward starts and what it reaches."""

    path: str
    call: Call
    module: Any
    sources: list[tuple[Any, np.ndarray | HandedOn]] = field(default_factory=list)
    reached: list[tuple[Any, Seen]] = field(default_factory=list)
    handed: dict[int, "HandedTensor"] = field(default_factory=dict)
    # (leaf, what arrived): no gradient flows to it in the reference, in the port one may.
    loose: list[tuple[Any, Any]] = field(default_factory=list)
    chosen: int = 0  # how many of the reference's discrete steps are behind it
    unpaired: list[Choice] = field(default_factory=list)  # its own that have no partner there
    fed: bool = True  # False where it got another number of tensors: its own, not the recorded

    def leaf_of(self, tensor: Any, version: int) -> Any | None:
        """Return the leaf that `tensor` was handed on for; None if something happened to it since.

        So what a container passes from child to child needs no graph, and no memory.
        """
        handed = self.handed.get(id(tensor))
        return handed.leaf if handed is not None and handed.is_now(tensor, version) else None


@dataclass(frozen=True)
class HandedTensor:
    """A recorded tensor in place of what arrived: it is `leaf` while its version is this one."""

    tensor: weakref.ref
    version: int
    leaf: Any

    def is_now(self, tensor: Any, version: int) -> bool:
        """Tell whether `tensor` of this version is it."""
        return self.tensor() is tensor and self.version == version


@dataclass(frozen=True)
class EscapedLeaf:
    """A leaf of a call that is over, whose tensor some code holds: a hook, or an attribute.

    More of its gradient may come from the code around; `seen` has what has come.
    """

    handed: HandedTensor
    seen: Seen

    @property
    def leaf(self) -> Any:
        """The leaf itself."""
        return self.handed.leaf

    def add(self, gradient: Any | None) -> None:
        """Add what has come; raises NeedsWholeRun where one of them is not known."""
        if gradient is None:
            return
        before = self.seen.found
        if isinstance(before, HandedOn) or (before is not None and isinstance(gradient, HandedOn)):
            raise NeedsWholeRun
        self.seen.found = gradient if before is None else before + gradient
