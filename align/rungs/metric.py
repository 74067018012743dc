"""The rung of metrics: both sides' counts of the same predictions, equal."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from align.arrays.trees import leaves
from align.causes.blame import blame_alone
from align.judge.compare import Allowance, compare
from align.judge.comparison import Comparison, unless_compared
from align.judge.words import Cause
from align.report.report import Report
from align.rungs.data import as_array, difference
from common.errors import UserError


def align_metric(torch_metric: Any, paddle_metric: Any, batches: Iterable[Any]) -> Report:
    """Compare two metrics on the same batches: counts exactly, numbers to 1e-12.

    Args:
        torch_metric, paddle_metric: called with the arrays of a batch, return a number, an array
            or a tree of them; or objects with `update(*arrays)` and one of `counts`, `compute()`,
            `accumulate()`, `result()`, which is read after every batch.
        batches: sequences of arrays, such as (prediction [N, H, W], label [N, H, W]).

    Returns:
        A Report of stage "metric": `layer` is the batch, `worst_index` the place in the counts.

    Raises:
        UserError: a metric is neither. Whatever the metrics themselves raise.
    """
    report = Report("metric")
    theirs, ours = _reader(torch_metric), _reader(paddle_metric)
    for number, batch in enumerate(batches):
        name = f"batch {number}"
        report.calls += _compare_results(name, theirs(*batch), ours(*batch))
    report.calls += unless_compared(report.calls, "no_metric")
    return blame_alone(report)


def _reader(metric: Any) -> Callable[..., Any]:
    if not hasattr(metric, "update") or isinstance(metric, Mapping):
        if not callable(metric):
            raise UserError(f"a metric is called or has update(); got {type(metric).__name__}")
        return metric

    def read(*arrays: Any) -> Any:
        metric.update(*arrays)
        for name in ("counts", "compute", "accumulate", "result"):
            if hasattr(metric, name):
                value = getattr(metric, name)
                return value() if callable(value) else value
        raise UserError(f"{type(metric).__name__} has none of counts, compute, accumulate, result")

    return read


def _compare_results(name: str, theirs: Any, ours: Any) -> list[Comparison]:
    expected = [leaf for leaf in leaves(theirs) if leaf is not None]
    found = [leaf for leaf in leaves(ours) if leaf is not None]
    if len(expected) != len(found):
        counts = {"port": len(found), "reference": len(expected)}
        return [difference(name, "output", Cause("value_count", **counts))]
    unit = 1e-12 / 64  # of the judge's units: schedules and means are compared to 1e-12
    return [
        compare(
            np.array(as_array(reference)),
            np.array(as_array(port)),
            Allowance(unit=unit),
            Comparison(name, "", f"output:{index}", "metric"),
        )
        for index, (reference, port) in enumerate(zip(expected, found, strict=True))
    ]
