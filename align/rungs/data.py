"""The data rung: batches equal to the bit."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any

import numpy as np

from align.arrays.trees import children, leaves
from align.causes.blame import blame_alone
from align.judge.comparison import DIFFERS, Comparison, unless_compared
from align.judge.relations import relation
from align.judge.words import Cause, joined
from align.report.report import Report

_MISSING = object()
ROUNDINGS = 2  # of the largest value: what two orders of a few operations are apart
MOST_SAMPLES = 16  # of a batch, of which a relation is sought one by one


def align_data(
    torch_batches: Iterable[Any],
    paddle_batches: Iterable[Any],
    count: int = 5,
    names: Sequence[str] = (),
) -> Report:
    """Compare the first `count` batches of two loaders bit by bit.

    Args:
        torch_batches, paddle_batches: give batches: arrays or tensors of either framework,
            nested in tuples, lists and dicts at will.
        count: number of batches to look at.
        names: of the parts of a batch, in their order; those of a dict or a named tuple have
            their own, and those of a dict among the parts both: "target.center".

    Returns:
        A Report of stage "data". `layer` is the batch ("batch 0"), `where` the tensor in it
        ("label", output:i without a name), `worst_index` the first element that differs. A loader
        that ends early is a difference.
    """
    report = Report("data", settings={"count": count})
    pairs = zip_longest(
        islice(torch_batches, count), islice(paddle_batches, count), fillvalue=_MISSING
    )
    for number, (theirs, ours) in enumerate(pairs):
        report.calls += _compare_batch(f"batch {number}", theirs, ours, names)
    report.calls += unless_compared(report.calls, "no_batch")
    return blame_alone(report)


def _compare_batch(name: str, theirs: Any, ours: Any, names: Sequence[str]) -> list[Comparison]:
    if theirs is _MISSING or ours is _MISSING:
        kind = "reference_ends" if theirs is _MISSING else "port_ends"
        return [difference(name, "calls", Cause(kind))]
    expected, found = leaves(theirs), leaves(ours)
    if len(expected) != len(found):
        counts = {"port": len(found), "reference": len(expected)}
        return [difference(name, "output", Cause("tensor_count", **counts))]
    places = places_of(theirs, names)
    return [
        _compare_bits(as_array(reference), as_array(port), Comparison(name, "", where, "data"))
        for where, reference, port in zip(places, expected, found, strict=True)
    ]


def places_of(batch: Any, names: Sequence[str] = ()) -> list[str]:
    """Return what the tensors of a batch are called, in the order of its leaves.

    names: of its parts; without them its own, and where it has none "output:0" and so on.
    """
    own, parts = [*(names or _names(batch))], children(batch)
    if parts is not None and not isinstance(batch, Mapping) and len(parts) == len(own):
        named = zip(own, parts.values(), strict=True)
        own = [place for name, part in named for place in _places_in(name, part)]
    count = len(leaves(batch))
    return own if len(own) == count else [f"output:{index}" for index in range(count)]


def _places_in(name: str, part: Any) -> list[str]:
    if isinstance(part, Mapping):
        return [f"{name}.{key}" for key in sorted(map(str, part))]
    return [name] * len(leaves(part))


def _names(batch: Any) -> Sequence[str]:
    """Return the names that a batch gives its tensors, in the order of its leaves; () for none."""
    if isinstance(batch, Mapping):
        return sorted(map(str, batch))
    fields: Sequence[str] = getattr(batch, "_fields", ())
    return fields


def _compare_bits(reference: np.ndarray, port: np.ndarray, into: Comparison) -> Comparison:
    into.shape = tuple(reference.shape)
    if reference.shape != port.shape or reference.dtype != port.dtype:
        into.verdict, into.relative_error = DIFFERS, float("inf")
        into.cause = Cause(
            "dtype_and_shape",
            port=port.dtype,
            port_shape=list(port.shape),
            reference=reference.dtype,
            reference_shape=list(reference.shape),
        )
        return into
    other = _bits(reference) != _bits(port)
    if not other.any():
        return into
    first = int(other.argmax())
    into.worst_index = tuple(int(i) for i in np.unravel_index(first, reference.shape))
    into.reference_value, into.port_value = float(reference.flat[first]), float(port.flat[first])
    left, right = reference.astype(np.float64), port.astype(np.float64)
    scale = float(np.abs(left).max()) or 1.0
    into.verdict, into.relative_error = DIFFERS, float(np.abs(left - right).max()) / scale
    cause = Cause(
        "bits_differ",
        count=int(other.sum()),
        total=other.size,
        port=str(port.flat[first]),  # as many digits as tell it from its neighbours
        reference=str(reference.flat[first]),
    )
    known = _rounding(reference, port) or relation(reference, port)
    into.cause = cause.also(known or _of_samples(reference, port))
    return into


def _rounding(reference: np.ndarray, port: np.ndarray) -> Cause | None:
    """Say that two arrays of one type differ by what rounding to it explains, if they do."""
    if reference.dtype.kind != "f":
        return None
    left, right = reference.astype(np.float64), port.astype(np.float64)
    most = ROUNDINGS * float(np.finfo(reference.dtype).eps) * float(np.abs(left).max())
    rounded = float(np.abs(left - right).max()) <= most  # not where anything is NaN
    return Cause("rounding_of_data", dtype=reference.dtype) if rounded else None


def _of_samples(reference: np.ndarray, port: np.ndarray) -> Cause | None:
    """Say what samples of a batch are of the reference's, one by one; None where unknown."""
    if reference.ndim < 2 or len(reference) < 2:
        return None
    wrong = [n for n in range(len(reference)) if not np.array_equal(reference[n], port[n])]
    found: dict[Cause, list[int]] = {}
    for number in wrong[:MOST_SAMPLES]:
        own = slice(number, number + 1)  # a batch of one: axes are those of the batch
        if cause := relation(reference[own], port[own]):
            found.setdefault(cause, []).append(number)
    return joined(
        Cause(
            "sample_is" if len(own) == 1 else "samples_are",
            samples=", ".join(map(str, own)),
            count=len(wrong),
            cause=cause,
        )
        for cause, own in found.items()
    )


def _bits(array: np.ndarray) -> np.ndarray:
    """Return one unsigned integer for each element."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(f"u{array.dtype.itemsize}") if array.dtype.itemsize in (1, 2, 4, 8) else flat


def as_array(value: Any) -> np.ndarray:
    """Return an array, a number or a tensor of either framework as an array."""
    for name in ("detach", "cpu", "numpy"):
        if hasattr(value, name) and not isinstance(value, np.ndarray):
            value = getattr(value, name)()
    return np.asarray(value)


def difference(layer: str, where: str, cause: Cause) -> Comparison:
    """Return that of batches which no number says: one is missing, or has other tensors."""
    return Comparison(
        layer, "", where, "data", verdict=DIFFERS, relative_error=float("inf"), cause=cause
    )
