"""Both metrics on made batches: where their scores part, and by what."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from align.judge.comparison import DIFFERS, Comparison
from align.judge.words import Cause, Words, listed
from align.rungs.data import difference
from align.rungs.metric.formulas import ScoreSeen, cause_of
from align.rungs.metric.made import Kind, MadeCase, Pair
from align.rungs.metric.results import Read, ScoreRounding, compare_results, reader, values_of


@dataclass
class _Found:
    """What the made batches show; `scores` of each side by the place of the value."""

    calls: list[Comparison] = field(default_factory=list)
    raising: list[Words] = field(default_factory=list)
    scores: tuple[dict[int, list[ScoreSeen]], dict[int, list[ScoreSeen]]] = field(
        default_factory=lambda: ({}, {})
    )


def compare_at_edges(
    cases: Sequence[MadeCase],
    makers: Sequence[Callable[[], Any]],
    kind: Kind,
    before: Sequence[Comparison] = (),
    single: bool = False,
) -> tuple[list[Comparison], list[Words]]:
    """Give both metrics each case from new; return the comparisons, and notes.

    `makers` return the reference's metric and the port's; `single`: one computes in float32. What
    only one side raises differs. The cause that the scores tell is that of the comparisons
    `before` too, of the user's batches.
    """
    found = _Found()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for case in cases:
            theirs, ours = (reader(make()) for make in makers)
            _compare_case(case, kind, (theirs, ours), found, single)
    wrong = [call for call in (*before, *found.calls) if call.verdict == DIFFERS and call.at.name]
    causes = {place: _cause(found, place, kind) for place in {int(c.at.name) for c in wrong}}
    for call in wrong:
        cause = causes[int(call.at.name)]
        call.cause = cause or call.cause
    notes = [Words("metric_both_raise", cases=listed(found.raising))] if found.raising else []
    return found.calls, notes


def _cause(found: _Found, place: int, kind: Kind) -> Cause | None:
    scores = [side.get(place, []) for side in found.scores]
    return cause_of(scores[0], scores[1], kind.classes, kind.void)


def _compare_case(
    case: MadeCase, kind: Kind, reads: tuple[Read, Read], found: _Found, single: bool
) -> None:
    counted = 0.0
    for number, batch in enumerate(case.batches):
        name, counted = case.names[number], counted + kind.shares(batch[1])
        results = [_read(read, batch) for read in reads]
        errors = [isinstance(result, Exception) for result in results]
        if all(errors):
            found.raising.append(case.words)
            return
        if any(errors):
            found.calls.append(_one_raises(name, *results))
            return
        theirs_now, ours_now = results
        found.calls += compare_results(
            name, theirs_now, ours_now, ScoreRounding(single, counted, made=True)
        )
        if not case.words.has("made_all_void"):
            seen = case.classes[: number + 1]
            for scores, result in zip(found.scores, results, strict=True):
                for place, value in enumerate(values_of(result)):
                    scores.setdefault(place, []).append(ScoreSeen(value, seen))


def _read(read: Read, batch: Pair) -> Any:
    """Return the score after a batch, or what the metric raises."""
    try:
        return read(*(array.copy() for array in batch))
    except Exception as error:  # whatever a user's metric raises
        return error


def _one_raises(name: str, theirs: Any, ours: Any) -> Comparison:
    of_port = isinstance(ours, Exception)
    error = ours if of_port else theirs
    kind = "only_port_raises" if of_port else "only_reference_raises"
    raised = {"error": type(error).__name__, "words": _first_line(error)}
    return difference(name, "output", Cause(kind, **raised))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else ""
