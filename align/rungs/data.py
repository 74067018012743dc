"""The data rung: batches equal to the bit."""

from collections.abc import Iterable
from itertools import islice, zip_longest
from typing import Any

import numpy as np

from align.arrays.trees import leaves
from align.causes.blame import blame_alone
from align.judge.comparison import DIFFERS, Comparison, unless_compared
from align.judge.relations import relation
from align.judge.words import Cause
from align.report.report import Report

_MISSING = object()


def align_data(
    torch_batches: Iterable[Any], paddle_batches: Iterable[Any], count: int = 5
) -> Report:
    """Compare the first `count` batches of two loaders bit by bit.

    Args:
        torch_batches, paddle_batches: give batches: arrays or tensors of either framework,
            nested in tuples, lists and dicts at will.
        count: number of batches to look at.

    Returns:
        A Report of stage "data". `layer` is the batch ("batch 0"), `where` the tensor in it
        (output:i), `worst_index` the first element that differs. A loader that ends early is a
        difference.
    """
    report = Report("data", settings={"count": count})
    pairs = zip_longest(
        islice(torch_batches, count), islice(paddle_batches, count), fillvalue=_MISSING
    )
    for number, (theirs, ours) in enumerate(pairs):
        report.calls += _compare_batch(f"batch {number}", theirs, ours)
    report.calls += unless_compared(report.calls, "no_batch")
    return blame_alone(report)


def _compare_batch(name: str, theirs: Any, ours: Any) -> list[Comparison]:
    if theirs is _MISSING or ours is _MISSING:
        kind = "reference_ends" if theirs is _MISSING else "port_ends"
        return [difference(name, "calls", Cause(kind))]
    expected, found = leaves(theirs), leaves(ours)
    if len(expected) != len(found):
        counts = {"port": len(found), "reference": len(expected)}
        return [difference(name, "output", Cause("tensor_count", **counts))]
    pairs = zip(expected, found, strict=True)
    return [
        _compare_bits(
            as_array(reference), as_array(port), Comparison(name, "", f"output:{i}", "data")
        )
        for i, (reference, port) in enumerate(pairs)
    ]


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
        port=into.port_value,
        reference=into.reference_value,
    )
    into.cause = cause.also(relation(reference, port))
    return into


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
