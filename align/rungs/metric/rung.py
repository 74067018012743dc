"""The rung of metrics: both sides' scores of the same predictions, equal, at their edges too."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from align.causes.blame import blame_alone
from align.judge.comparison import DIFFERS, unless_compared
from align.judge.words import Words, listed
from align.report.report import Report
from align.rungs.metric.edges import compare_at_edges
from align.rungs.metric.made import OF_VOID, Kind, kind_of, made_cases
from align.rungs.metric.results import ScoreRounding, compare_results, is_single, reader, values_of

Anew = Callable[[], Any]  # gives a metric without a past


def align_metric(
    torch_metric: Any,
    paddle_metric: Any,
    batches: Iterable[Any],
    *,
    num_classes: int | None = None,
    ignore_index: int | None = 255,
    anew: tuple[Anew, Anew] | None = None,
) -> Report:
    """Compare two metrics on the same batches: counts exactly, numbers to 1e-12.

    A score that float32 holds may be off by float32's rounding where that hides no pixel.

    Batches of (prediction, label) are whole numbers of one shape [N, ...], or logits [N, C, ...]
    and whole numbers [N, ...]. Then made batches of their shapes and types follow, which show what
    few batches seldom do: classes absent from the label, the prediction or both, void alone, a
    perfect prediction, batches that differ. There both sides may raise, or give NaN, alike.

    Args:
        torch_metric, paddle_metric: called with the arrays of a batch, return a number, an array
            or a tree of them; or objects with `update(*arrays)` and one of `counts`, `compute()`,
            `accumulate()`, `result()`, which is read after every batch.
        batches: sequences of arrays, such as (prediction [N, H, W], label [N, H, W]).
        num_classes: of the made batches; None: the axis of logits, or what occurs in the batches.
        ignore_index: the label that does not count; None: no label has one, so it is not asked.
        anew: functions that return each metric without a past, for made batches; None: objects
            are copied before the first batch, functions taken as they are.

    Returns:
        A Report of stage "metric": `layer` is the batch, `worst_index` the place in the counts.

    Raises:
        UserError: a metric is neither. Whatever the metrics raise on `batches`.
    """
    report = Report("metric")
    makers = anew or _copies(torch_metric, paddle_metric)
    theirs, ours = reader(torch_metric), reader(paddle_metric)
    given = [tuple(batch) for batch in batches]
    kind = kind_of(given, num_classes, ignore_index)
    scores = [(values_of(theirs(*batch)), values_of(ours(*batch))) for batch in given]
    single = kind is not None and any(is_single(side) for side in zip(*scores, strict=True))
    counted = 0.0
    for number, (batch, both) in enumerate(zip(given, scores, strict=True)):
        counted += kind.shares(batch[-1]) if kind else 0.0
        report.calls += compare_results(f"batch {number}", *both, ScoreRounding(single, counted))
    report.calls += unless_compared(report.calls, "no_metric")
    if kind is None or makers is None:
        report.notes.append(Words("metric_not_copied" if kind else "metric_no_maps"))
    else:
        _at_edges(report, makers, kind, single)
    return blame_alone(report)


def _copies(torch_metric: Any, paddle_metric: Any) -> tuple[Anew, Anew] | None:
    """Return makers of both metrics as they are now; None where one of them cannot be copied."""
    try:
        theirs, ours = copy.deepcopy(torch_metric), copy.deepcopy(paddle_metric)
    except Exception:  # whatever an object's own copying raises
        return None
    return lambda: copy.deepcopy(theirs), lambda: copy.deepcopy(ours)


def _at_edges(report: Report, makers: tuple[Anew, Anew], kind: Kind, single: bool) -> None:
    """Go on with made batches, and say which they were."""
    cases = list(made_cases(kind))
    calls, notes = compare_at_edges(cases, makers, kind, report.calls, single)
    words = [case.words for case in cases]
    report.calls += calls
    report.settings["made"] = [str(word) for word in words]
    report.notes += [Words("metric_made", cases=listed(words)), *notes]
    void = {name for case in cases if case.words.has(*OF_VOID) for name in case.names}
    wrong = {call.layer for call in report.calls if call.verdict == DIFFERS}
    if wrong and wrong <= void:
        report.notes.append(Words("metric_void_alone", void=kind.void))
