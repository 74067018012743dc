"""Code that computes in float32 on purpose on one side and not on the other."""

from collections.abc import Iterator, Mapping

from align.judge.comparison import DIFFERS, Comparison
from align.judge.words import Cause
from align.record.draws import CallKey
from align.record.trace import Call, nearest
from align.trial.findings import Findings


def compare_casts(found: Findings, ours: Mapping[CallKey, str]) -> list[Comparison]:
    """Return a difference for each call whose code casts to float32 on one side alone.

    Casts follow the run, so values do not show it. `ours` are the port's casts, by the reference's
    call and with file and line. What one side casts before a call and the other in it is no
    difference.
    """
    judged = set(found.judged.reference_group)
    calls = {call.key: call for call in found.trace.calls}
    theirs = _by_judged(found.trace.calls, {c.key: c.casts for c in calls.values()}, judged)
    port = _by_judged(found.trace.calls, ours, judged)
    missing, added = set(theirs) - set(port), set(port) - set(theirs)
    around = {key: above.key for key, above in _around(calls, judged) if above is not None}
    near = {
        key
        for one in missing
        for other in added
        if around.get(one) == other or around.get(other) == one
        for key in (one, other)
    }
    layers = {group: path for path, group in reversed(list(found.judged.port_group.items()))}
    comparisons = []
    for key in calls:
        if key in near or key not in missing | added:
            continue
        path, index = key
        layer = layers[found.judged.reference_group[path]]
        into = Comparison(layer, f"{path}#{index}", "casts", "glue", verdict=DIFFERS)
        into.relative_error = float("inf")
        kind, line = ("cast_missing", theirs) if key in missing else ("cast_added", port)
        into.cause = Cause(kind, line=line[key])
        comparisons.append(into)
    return comparisons


def _by_judged(
    calls: list[Call], casts: Mapping[CallKey, str], judged: set[str]
) -> dict[CallKey, str]:
    """Return {judged call: line} of the casts in its code, that of modules without partner too."""
    found: dict[CallKey, str] = {}
    for call in calls:
        above = nearest(call, judged)
        if casts.get(call.key) and above is not None:
            found.setdefault(above.key, casts[call.key])
    return found


def _around(
    calls: Mapping[CallKey, Call], judged: set[str]
) -> Iterator[tuple[CallKey, Call | None]]:
    """Yield the key of each call with the judged call around it."""
    for key, call in calls.items():
        yield key, nearest(call.parent, judged)
