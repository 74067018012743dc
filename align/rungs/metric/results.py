"""What metrics return: read after every batch, and compared value by value."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from align.arrays.trees import leaves
from align.judge.compare import UNITS, Allowance, compare
from align.judge.comparison import Comparison
from align.judge.words import Cause
from align.rungs.data import as_array, difference
from common.errors import UserError

Read = Callable[..., Any]  # of a batch's arrays: the score so far
EXACT = 1e-12 / UNITS  # schedules and means are compared to 1e-12
FLOAT32 = float(np.finfo(np.float32).eps)


def reader(metric: Any) -> Read:
    """Return what gives the metric a batch and reads its score. Raises UserError for neither."""
    if not hasattr(metric, "update") or isinstance(metric, Mapping):
        if not callable(metric):
            raise UserError(f"a metric is called or has update(); got {type(metric).__name__}")
        read: Read = metric
        return read

    def read_after(*arrays: Any) -> Any:
        metric.update(*arrays)
        for name in ("counts", "compute", "accumulate", "result"):
            if hasattr(metric, name):
                value = getattr(metric, name)
                return value() if callable(value) else value
        raise UserError(f"{type(metric).__name__} has none of counts, compute, accumulate, result")

    return read_after


def values_of(result: Any) -> list[np.ndarray]:
    """Return the values of what a metric returned, as arrays of their own."""
    return [np.array(as_array(leaf)) for leaf in leaves(result) if leaf is not None]


def compare_results(name: str, theirs: Any, ours: Any, made: bool = False) -> list[Comparison]:
    """Compare what both metrics returned after the batch `name`.

    NaN on both sides at one place is equal there; where all is NaN, only for `made` batches, whose
    scores may be float32's: others are compared to 1e-12.
    """
    expected, found = values_of(theirs), values_of(ours)
    if len(expected) != len(found):
        counts = {"port": len(found), "reference": len(expected)}
        return [difference(name, "output", Cause("value_count", **counts))]
    pairs = zip(expected, found, strict=True)
    return [
        _compare(*pair, Comparison(name, "", f"output:{index}", "metric"), made)
        for index, pair in enumerate(pairs)
    ]


def _compare(reference: np.ndarray, port: np.ndarray, into: Comparison, made: bool) -> Comparison:
    single = made and _holds_float32(reference) and _holds_float32(port)
    if reference.shape == port.shape and "f" == reference.dtype.kind == port.dtype.kind:
        alike = np.isnan(reference) & np.isnan(port)
        if made or not alike.all():
            reference, port = (np.where(alike, 0, array) for array in (reference, port))
    return compare(reference, port, Allowance(unit=FLOAT32 if single else EXACT), into)


def _holds_float32(array: np.ndarray) -> bool:
    """Tell whether float32 holds every value, as it does those that were computed in it."""
    if array.dtype.kind != "f":
        return False
    with np.errstate(over="ignore"):
        return bool(np.array_equal(array.astype(np.float32), array, equal_nan=True))
