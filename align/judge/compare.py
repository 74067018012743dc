"""Compares two arrays against what rounding explains, and says what it found.

An allowance is measured, never chosen by the user: `UNITS` times the distance by which the
reference's own tensor moves when inputs and weights move by one unit in the last place (that is
the kernel's precision times the amplification), plus the distance by which it moves when the
kernels of `kernels.KERNELS` are off by what that table allows, plus what long sums lose. What is
not measured counts as 0: it can only add to what is allowed (see `early`). No false alarm in `make
prove` is what `UNITS` was set by; a fault stands many powers of ten above it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from align.arrays.distances import distance
from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison
from align.judge.relations import relation
from align.judge.words import Cause, listed

# Healthy pairs need 4 at most (docs/proof/): the kernels sum in another order.
UNITS = 64.0
# A sum of n equal terms, taken one after the other, may be off by n / 2 units: torch's batch
# statistics of a nearly constant 400x400 map are off by n / 10.
LONG_SUMS = 0.25
# Beyond this share of the tensor's own magnitude an allowance leaves nothing to compare.
NOTHING_LEFT = 1e-3

# Stands for the movement of a tensor that comes with another shape: code chose otherwise.
OTHER_SHAPE = 1e290

# Of values that hang on the last bit, another draw may move others: so many times those seen.
UNSTABLE = 4.0

# A histogram's second count is below 10 ** SMALLEST_DECADE, its last one open above.
SAMPLE, SMALLEST_DECADE, DECADES = 512, -17, 22


@dataclass(frozen=True)
class Allowance:
    """Largest absolute distance that rounding explains, by where it comes from."""

    rounding: float = 0.0  # how far the reference moves by one unit in the last place
    kernels: float = 0.0  # how far it moves when inexact kernels are off
    unit: float = float(np.finfo(np.float64).eps)
    summed: int = 0  # values of one channel, which a layer may sum
    random: str = ""  # the function of the reference whose numbers the port cannot be given
    inexact: float = 0.0  # how far an operator of the port is off, as a fraction
    reach: int = 0  # values of the largest tensor that the code may sum
    # Of whole numbers that were chosen: what else the reference chooses within rounding.
    others: Callable[[], Sequence[np.ndarray]] | None = None

    def of(self, scale: float, size: int) -> float:
        """Return the allowed distance for `size` values of largest magnitude `scale`."""
        terms = max(self.summed, self.reach // max(size, 1))
        sums = LONG_SUMS * terms * self.unit * scale
        operators = self.inexact * (self.rounding / self.unit + scale)
        return UNITS * (self.rounding + self.unit * scale) + sums + self.kernels + operators


Viewer = Callable[[np.ndarray, np.ndarray, Allowance, Comparison], None]
_shown_to: ContextVar[Viewer | None] = ContextVar("shown_to", default=None)


@contextmanager
def shown_to(viewer: Viewer) -> Iterator[None]:
    """Show `viewer` each pair of arrays that is compared, with the verdict."""
    token = _shown_to.set(viewer)
    try:
        yield
    finally:
        _shown_to.reset(token)


def compare(
    reference: np.ndarray, port: np.ndarray, allowance: Allowance, into: Comparison
) -> Comparison:
    """Fill `into` with the verdict on `port` [any shape] against `reference`. No broadcasting."""
    _compare(reference, port, allowance, into)
    shown = _shown_to.get()
    if shown is not None:
        shown(reference, port, allowance, into)
    return into


def _compare(
    reference: np.ndarray, port: np.ndarray, allowance: Allowance, into: Comparison
) -> Comparison:
    into.shape = tuple(int(n) for n in reference.shape)
    if allowance.random:
        into.verdict = UNCHECKED
        into.cause = Cause("not_replayable", function=allowance.random)
        return into
    misfit = _misfit(reference, port)
    if misfit and misfit.kind == "shape" and allowance.rounding >= OTHER_SHAPE:
        into.verdict, into.cause = UNCHECKED, misfit.also(Cause("choice_unseen"))
        return into
    if misfit:
        return _differs(into, float("inf"), misfit)
    if reference.size == 0:
        return into
    by_kind = _compare_floats if _is_float(reference) else _compare_exactly
    by_kind(reference, port, allowance, into)
    if into.verdict == DIFFERS and into.relative_error != float("inf"):
        said = [cause for cause in (into.cause, relation(reference, port)) if cause]
        into.cause = listed(said) if said else None
    return into


def _misfit(reference: np.ndarray, port: np.ndarray) -> Cause | None:
    if reference.shape != port.shape:
        return Cause("shape", port=list(port.shape), reference=list(reference.shape))
    kinds = _kind(reference), _kind(port)
    if kinds[0] != kinds[1]:
        return Cause("dtype", port=port.dtype, reference=reference.dtype)
    return None


def _is_float(array: np.ndarray) -> bool:
    return _kind(array) in ("float", "complex")


def _kind(array: np.ndarray) -> str:
    if array.dtype.kind in "fV" or array.dtype.name.startswith(("bfloat", "float")):
        return "float"
    return {"i": "integer", "u": "integer", "b": "bool", "c": "complex"}.get(array.dtype.kind, "?")


def _compare_exactly(
    reference: np.ndarray, port: np.ndarray, allowance: Allowance, into: Comparison
) -> Comparison:
    wrong = reference != port
    if not wrong.any():
        return into
    if allowance.others is not None:
        if _chosen_within_rounding(wrong, port, allowance.others()):
            into.verdict = NOISE
            into.cause = Cause("last_bit", count=int(wrong.sum()))
            return into
    elif wrong.sum() <= UNSTABLE * allowance.rounding:
        # How many the reference moves says nothing of which: values that hang together may all
        # be wrong, where each of them alone could be either.
        into.verdict, into.cause = UNCHECKED, Cause("choice_unseen")
        return into
    _point_at(into, int(wrong.argmax()), reference, port)
    cause = Cause("values_differ", count=int(wrong.sum()), total=wrong.size)
    return _differs(into, float(wrong.mean()), cause)


def _chosen_within_rounding(
    wrong: np.ndarray, port: np.ndarray, others: Sequence[np.ndarray]
) -> bool:
    """Tell whether each value that is `wrong` is what one of `others` has at its place."""
    seen = np.zeros(port.shape, bool)
    for other in others:
        if other.shape == port.shape:
            seen |= other == port
    return bool(seen[wrong].all())


def _compare_floats(
    reference: np.ndarray, port: np.ndarray, allowance: Allowance, into: Comparison
) -> Comparison:
    found = distance(reference, port)
    if not (math.isfinite(found.worst) and math.isfinite(found.largest)):
        finite = np.isfinite(reference)
        if _compare_not_finite(reference, port, into).verdict != EQUAL or not finite.any():
            return into
        port, reference = np.where(finite, port, 0), np.where(finite, reference, 0)
        found = distance(reference, port)
    scale = found.largest or 1.0
    _point_at(into, found.index, reference, port)
    into.scale, into.histogram = found.largest, _histogram(reference, port, scale)
    into.relative_error = found.worst / scale
    into.floor = allowance.of(found.largest, reference.size) / scale
    if into.relative_error <= into.floor:
        into.verdict = EQUAL
        if into.floor > NOTHING_LEFT:
            _nothing_left(into)
        return into
    return _differs(into, into.relative_error, None)


def _histogram(reference: np.ndarray, port: np.ndarray, scale: float) -> list[int]:
    """Count a strided sample of at most `SAMPLE` differences by decade; no trailing zeros."""
    step = -(-reference.size // SAMPLE)
    exact = np.complex128 if _kind(reference) == "complex" else np.float64
    ours, theirs = (array.flat[::step].astype(exact) for array in (port, reference))
    sample = np.abs(ours - theirs) / scale
    with np.errstate(divide="ignore"):
        decades = np.floor(np.log10(sample)) - SMALLEST_DECADE + 2
    return np.bincount(decades.clip(0, DECADES).astype(np.int64)).tolist()


def _nothing_left(into: Comparison) -> None:
    """A gradient may be rounding alone; a value that may, was not checked."""
    into.verdict = NOISE if into.at.is_gradient else UNCHECKED
    if into.verdict == UNCHECKED:
        into.cause = Cause("rounding_alone")


def _compare_not_finite(reference: np.ndarray, port: np.ndarray, into: Comparison) -> Comparison:
    same = (reference == port) | (np.isnan(reference) & np.isnan(port))
    wrong = (np.isfinite(reference) != np.isfinite(port)) | (~np.isfinite(reference) & ~same)
    count = int((~np.isfinite(reference)).sum())
    if wrong.any():
        _point_at(into, int(wrong.argmax()), reference, port)
        ours = int((~np.isfinite(port)).sum())
        return _differs(into, float("inf"), Cause("not_finite", port=ours, reference=count))
    if np.isnan(reference).any():
        into.verdict = UNCHECKED
        into.cause = Cause("not_finite_both", count=count)
    return into


def _point_at(into: Comparison, flat: int, reference: np.ndarray, port: np.ndarray) -> None:
    into.worst_index = tuple(int(i) for i in np.unravel_index(flat, reference.shape))
    into.reference_value = _number(reference.flat[flat])
    into.port_value = _number(port.flat[flat])


def _number(value: complex) -> float:
    return float(abs(value)) if isinstance(value, complex) else float(value)


def _differs(into: Comparison, error: float, cause: Cause | None) -> Comparison:
    into.verdict, into.relative_error, into.cause = DIFFERS, error, cause
    return into


def compare_gradients(
    expected: np.ndarray | None, found: np.ndarray | None, allowance: Allowance, into: Comparison
) -> Comparison:
    """Compare two tensors of which one may not exist: no gradient stands for zeros."""
    if expected is None and found is None:
        return into
    if expected is None:
        assert found is not None
        result = compare(np.zeros(found.shape, found.dtype), found, allowance, into)
        result.scale = None  # nothing that the reference has was compared
        return result
    if found is None:
        found = np.zeros(expected.shape, expected.dtype)
        result = compare(expected, found, allowance, into)
        if result.verdict == DIFFERS:
            result.cause = Cause("no_gradient")
        return result
    return compare(expected, found, allowance, into)
