"""The data and metric rungs: batches equal to the bit, counts equal exactly."""

from collections.abc import Iterable
from itertools import islice, zip_longest
from typing import Any

import numpy as np

from align.arrays.trees import leaves
from align.causes.blame import blame_alone
from align.judge.comparison import DIFFERS, Comparison, unless_compared
from align.judge.relations import relation
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
    report.calls += unless_compared(report.calls, "neither loader gives a batch")
    return blame_alone(report)


def _compare_batch(name: str, theirs: Any, ours: Any) -> list[Comparison]:
    if theirs is _MISSING or ours is _MISSING:
        side = "reference's" if theirs is _MISSING else "port's"
        return [difference(name, "calls", f"the {side} loader ends before this batch")]
    expected, found = leaves(theirs), leaves(ours)
    if len(expected) != len(found):
        words = f"{len(found)} tensors, the reference has {len(expected)}"
        return [difference(name, "output", words)]
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
        into.cause = (
            f"{port.dtype} {list(port.shape)}, the reference has {reference.dtype} "
            f"{list(reference.shape)}"
        )
        return into
    wrong = _bits(reference) != _bits(port)
    if not wrong.any():
        return into
    first = int(wrong.argmax())
    into.worst_index = tuple(int(i) for i in np.unravel_index(first, reference.shape))
    into.reference_value, into.port_value = float(reference.flat[first]), float(port.flat[first])
    left, right = reference.astype(np.float64), port.astype(np.float64)
    scale = float(np.abs(left).max()) or 1.0
    into.verdict, into.relative_error = DIFFERS, float(np.abs(left - right).max()) / scale
    into.cause = (
        f"{int(wrong.sum())} of {wrong.size} values differ, the first is {into.port_value:g}, "
        f"in the reference {into.reference_value:g}"
    )
    words = relation(reference, port)
    into.cause += f"; {words}" if words else ""
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


def difference(layer: str, where: str, cause: str) -> Comparison:
    """Return that of batches which no number says: one is missing, or has other tensors."""
    return Comparison(
        layer, "", where, "data", verdict=DIFFERS, relative_error=float("inf"), cause=cause
    )
