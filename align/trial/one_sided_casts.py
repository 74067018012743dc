"""Code that computes in float32 on purpose on one side and not on the other."""

from collections.abc import Iterator, Mapping

from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import Cause
from align.nets.casts.told import CastOf
from align.record.draws import CallKey
from align.record.trace import Call, nearest
from align.trial.findings import Findings

Casts = Mapping[CallKey, tuple[str, list[CastOf]]]  # of a call: the first line, what is cast


def compare_casts(found: Findings, ours: Casts) -> list[Comparison]:
    """Return a difference for each call whose code casts to float32 on one side alone.

    Casts follow the run, so values do not show it. `ours` are the port's casts, by the reference's
    call. What one side casts before a call and the other in it is no difference. Where code of
    both casts, what it casts is compared.
    """
    judged = set(found.judged.reference_group)
    calls = {call.key: call for call in found.trace.calls}
    own = {c.key: (c.casts, c.cast_of) for c in calls.values()}
    theirs = _by_judged(found.trace.calls, own, judged)
    port = _by_judged(found.trace.calls, ours, judged)
    missing, added = set(theirs) - set(port), set(port) - set(theirs)
    near = _near(calls, judged, missing, added)
    layers = {group: path for path, group in reversed(list(found.judged.port_group.items()))}
    comparisons = []
    for key in calls:
        kind, idle, line = "", False, ""
        if key in missing | added and key not in near:
            kind, side = ("cast_missing", theirs) if key in missing else ("cast_added", port)
            line = side[key][0]
        elif key in theirs and key in port:
            kind, idle, line = _one_more(key, theirs, port)
        if kind:
            path, index = key
            layer = layers[found.judged.reference_group[path]]
            into = Comparison(layer, f"{path}#{index}", "casts", "glue", verdict=DIFFERS)
            into.relative_error = float("inf")
            into.cause = Cause(kind, line=line)
            if idle:
                into.verdict, into.relative_error = UNCHECKED, 0.0
                into.cause = into.cause.also(Cause("cast_idle"))
            comparisons.append(into)
    return comparisons


def _one_more(key: CallKey, theirs: Casts, port: Casts) -> tuple[str, bool, str]:
    """Return which side casts one more tensor in a call that both cast in, if one alone does.

    That is (kind of cause, whether the cast may do nothing, its line).
    """
    left = []
    for side, other in ((theirs, port), (port, theirs)):
        known = [cast for _, casts in other.values() for cast in casts]
        left.append([c for c in side[key][1] if not any(c.is_same(each) for each in known)])
    unstored = not theirs[key][1] and bool(port[key][1])  # of a trace that does not say
    if bool(left[0]) == bool(left[1]) or unstored:
        return "", False, ""
    kind, casts = ("cast_missing", left[0]) if left[0] else ("cast_added", left[1])
    cast = min(casts, key=lambda each: each.idle)
    return kind, cast.idle, cast.line


def _by_judged(calls: list[Call], casts: Casts, judged: set[str]) -> Casts:
    """Return the casts of judged calls, with those of modules without partner in their code."""
    found: dict[CallKey, tuple[str, list[CastOf]]] = {}
    for call in calls:
        above = nearest(call, judged)
        line, cast = casts.get(call.key, ("", []))
        if line and above is not None:
            found.setdefault(above.key, (line, []))[1].extend(cast)
    return found


def _near(
    calls: Mapping[CallKey, Call], judged: set[str], missing: set[CallKey], added: set[CallKey]
) -> set[CallKey]:
    """Return the calls of which one side casts in the one around, and the other inside."""
    around = {key: above.key for key, above in _around(calls, judged) if above is not None}
    return {
        key
        for one in missing
        for other in added
        if around.get(one) == other or around.get(other) == one
        for key in (one, other)
    }


def _around(
    calls: Mapping[CallKey, Call], judged: set[str]
) -> Iterator[tuple[CallKey, Call | None]]:
    """Yield the key of each call with the judged call around it."""
    for key, call in calls.items():
        yield key, nearest(call.parent, judged)
