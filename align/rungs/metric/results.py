"""What metrics return: read after every batch, and compared value by value."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from align.arrays.trees import leaves
from align.judge.compare import UNITS, Allowance, compare
from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import Cause
from align.rungs.data import as_array, difference
from common.errors import UserError

Read = Callable[..., Any]  # of a batch's arrays: the score so far
EXACT = 1e-12 / UNITS  # schedules and means are compared to 1e-12
FLOAT32 = float(np.finfo(np.float32).eps)
ROUNDED = 8 * FLOAT32  # what scores of float32 are off by: a few divisions, a mean of classes


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


@dataclass(frozen=True)
class ScoreRounding:
    """What of scores may be rounding.

    single: one side computes in float32. counted: the pixels so far, a share for each class: what
    one pixel comes to is 1 / `counted`. made: of a made batch, where all may be NaN alike.
    """

    single: bool = False
    counted: float = float("inf")
    made: bool = False


def compare_results(
    name: str, theirs: Any, ours: Any, rounding: ScoreRounding = ScoreRounding()
) -> list[Comparison]:
    """Compare what both metrics returned after the batch `name`, to 1e-12.

    NaN on both sides at one place is equal there. Scores of float32 may be off by its rounding
    where one pixel comes to more; what it may hide could not be checked.
    """
    expected, found = values_of(theirs), values_of(ours)
    if len(expected) != len(found):
        counts = {"port": len(found), "reference": len(expected)}
        return [difference(name, "output", Cause("value_count", **counts))]
    pairs = zip(expected, found, strict=True)
    return [
        _compare(*pair, Comparison(name, "", f"output:{index}", "metric"), rounding)
        for index, pair in enumerate(pairs)
    ]


def _compare(
    reference: np.ndarray, port: np.ndarray, into: Comparison, rounding: ScoreRounding
) -> Comparison:
    single, made = rounding.single, rounding.made
    both = made and _holds_float32(reference) and _holds_float32(port)
    if reference.shape == port.shape and "f" == reference.dtype.kind == port.dtype.kind:
        alike = np.isnan(reference) & np.isnan(port)
        if made or not alike.all():
            reference, port = (np.where(alike, 0, array) for array in (reference, port))
    shown = single and ROUNDED * rounding.counted < 0.5
    unit = FLOAT32 if both else ROUNDED / UNITS if shown else EXACT
    compare(reference, port, Allowance(unit=unit), into)
    if into.verdict == DIFFERS and single and into.relative_error <= ROUNDED:
        into.verdict, into.cause = UNCHECKED, Cause("metric_float32")
    return into


def is_single(results: Iterable[Any]) -> bool:
    """Tell whether float32 is what these scores of one side were computed in.

    It holds all of them, and some need nearly all of its digits: 0.5 and 3 / 64 say nothing.
    """
    arrays = [array for result in results for array in values_of(result)]
    floats = [array for array in arrays if array.dtype.kind == "f"]
    return all(map(_holds_float32, floats)) and any(map(_is_long, floats))


def _is_long(array: np.ndarray) -> bool:
    digits = np.frexp(array[np.isfinite(array)])[0] * 2.0**22
    return bool((digits != np.floor(digits)).any())


def _holds_float32(array: np.ndarray) -> bool:
    """Tell whether float32 holds every value, as it does those that were computed in it."""
    if array.dtype.kind != "f":
        return False
    with np.errstate(over="ignore"):
        return bool(np.array_equal(array.astype(np.float32), array, equal_nan=True))
