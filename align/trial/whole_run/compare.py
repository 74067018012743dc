"""Compares two free runs of a net with its loss, each tensor against its allowance."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from align.judge.compare import Allowance, compare, compare_gradients
from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import Cause
from align.trial.findings import Findings
from align.trial.whole_run.free_values import Array, FreeValues

if TYPE_CHECKING:
    from align.pairing.reference_torch import LiveReference
    from align.pairing.sides import Sides

Moves = Mapping[str, float]


class Allow:
    """What rounding explains in a free run: `moves` are (by rounding, by inexact kernels)."""

    def __init__(self, moves: tuple[Moves, Moves], found: Findings) -> None:
        self.rounding, self.kernels = moves
        self.summed = max((call.values_per_channel for call in found.trace.calls), default=0)
        self.reach = max((call.largest_size for call in found.trace.calls), default=0)
        self.inexact = max(
            (error for both in found.inexact.values() for error in both), default=0.0
        )

    def at(self, place: str) -> Allowance:
        """Return the allowance of the tensor at a place of `FreeValues`."""
        return Allowance(
            self.rounding.get(place, 0.0),
            self.kernels.get(place, 0.0),
            summed=self.summed,
            inexact=self.inexact,
            reach=self.reach,
        )


def compare_outcomes(
    sides: "Sides[LiveReference]", exact: FreeValues, port: FreeValues, allow: Allow
) -> list[Comparison]:
    """Compare the loss, and the gradients of the inputs and of every parameter.

    All of them are the root's: no layer of the net is told from another.
    """
    return [
        *_listed("loss", "output", exact, port, allow),
        *_listed("grad_input", "grad_input", exact, port, allow),
        *_parameters(sides, exact, port, allow),
    ]


def _listed(
    kind: str, where: str, exact: FreeValues, port: FreeValues, allow: Allow
) -> Iterator[Comparison]:
    """Compare what is numbered: one more or less on a side differs."""
    theirs, ours = (
        {place: a for place, a in side.values.items() if place.startswith(f"{kind}:")}
        for side in (exact, port)
    )
    for place in {**theirs, **ours}:
        into = Comparison("", "", f"{where}:{place.partition(':')[2]}", "glue")
        if place not in theirs or place not in ours:
            counts = {"reference": len(theirs), "port": len(ours)}
            into.verdict, into.relative_error = DIFFERS, float("inf")
            into.cause = Cause("whole_count", **counts)
        elif kind == "loss":
            expected, found = theirs[place], ours[place]
            assert expected is not None
            assert found is not None
            compare(expected, _as_scalar(found, expected), allow.at(place), into)
        else:
            compare_gradients(theirs[place], ours[place], allow.at(place), into)
        yield into


def _as_scalar(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return one number in the reference's shape: some losses of Paddle are [1]."""
    return found.reshape(expected.shape) if found.size == expected.size == 1 else found


def _parameters(
    sides: "Sides[LiveReference]", exact: FreeValues, port: FreeValues, allow: Allow
) -> Iterator[Comparison]:
    theirs, ours = _gradients(exact), _gradients(port)
    identities, held = sides.reference.identities(), sides.port.state_dict()
    seen: set[tuple[int, int | None]] = set()
    for tensor in sides.tensors:
        if tensor.buffer or tensor.reference not in theirs:
            continue
        pair = id(held[tensor.key]), identities.get(tensor.reference)
        if pair not in seen:
            seen.add(pair)
            into = _comparison(tensor.key)
            allowance = allow.at(f"grad:{tensor.reference}")
            yield compare_gradients(tensor.of(theirs), ours.get(tensor.key), allowance, into)
    paired = {own for own, _ in seen}, {identity for _, identity in seen}
    for key, gradient in ours.items():
        if _flows(gradient) and id(held[key]) not in paired[0]:
            yield _unpaired(key)
    for name, gradient in theirs.items():
        if _flows(gradient) and identities.get(name) not in paired[1]:
            yield _unpaired(name)


def _comparison(key: str) -> Comparison:
    return Comparison("", "", f"grad:{key.removeprefix('net.')}", "glue")


def _unpaired(name: str) -> Comparison:
    into = _comparison(name)
    into.verdict, into.cause = UNCHECKED, Cause("whole_unpaired")
    return into


def _gradients(outcome: FreeValues) -> dict[str, Array]:
    kind = "grad:"
    return {p.removeprefix(kind): a for p, a in outcome.values.items() if p.startswith(kind)}


def _flows(gradient: Array) -> bool:
    return gradient is not None and bool(np.any(gradient))
