"""What calls do not show: layers that the port lost, or whose code was never reached."""

from collections.abc import Callable

from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import Cause
from align.pairing.tensors import nearest_above
from align.record.trace import Trace
from align.trial.findings import Findings


def not_reached(call: Comparison, called: set[str]) -> bool:
    """Tell whether a layer's tensor differs because the code around raised before calling it."""
    own = call.at.kind in ("grad", "buffer")
    return own and call.verdict == DIFFERS and call.layer not in called


def in_place(path: str) -> Comparison:
    """Return what cannot be checked: recording works out of place, and that changes the result."""
    into = Comparison(path, f"{path}#0", "output:0", "layer", verdict=UNCHECKED)
    into.cause = Cause("in_place", path=path or "(root)")
    return into


def unseen(found: Findings, is_seen: Callable[[str], bool | None]) -> list[Comparison]:
    """Return a difference for each layer that the port lost and that nothing else would miss.

    A layer of the reference that is called and not judged (no partner, or another number of
    calls) is judged as a part of the layer around it, where its result reaches anything there.
    Where it does not (an auxiliary head that is not returned), equal outputs prove nothing.
    """
    trace, judged = found.trace, set(found.judged.reference_group)
    called = {call.path for call in trace.calls}
    comparisons = []
    for path in trace.paths:
        above = nearest_above(path, judged)
        lost = path in called and path not in judged and _holds_parameters(trace, path)
        if not lost or nearest_above(path, called - judged) or above is None:
            continue
        seen = is_seen(path)
        if seen:
            continue
        partners = found.judged.partners.items()
        layer = next((port for port, reference in partners if reference == above), "")
        into = Comparison(layer, f"{path}#0", "calls", "glue", verdict=DIFFERS)
        into.relative_error = float("inf")
        into.cause = Cause("not_called", path=path)
        if seen is None:
            into.verdict, into.relative_error = UNCHECKED, 0.0
            into.cause = into.cause.also(Cause("use_unknown"))
        comparisons.append(into)
    return comparisons


def _holds_parameters(trace: Trace, path: str) -> bool:
    return any(name.startswith(f"{path}.") for name in trace.parameters)
