"""Functions that bound values and differ only beyond the values that these inputs reach."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import Cause
from align.pairing.by_path import Pairing
from align.record.bounds import GRID, Bounding, View
from align.record.trace import Trace, nearest

# Two functions whose values are closer than this are one, relatively and absolutely.
RELATIVE, ABSOLUTE = 1e-3, 1e-13


@dataclass(frozen=True)
class _Side:
    """What bounds values on one side, by the group whose code has it; None: of no layer."""

    calls: Sequence[Bounding]
    groups: Mapping[int, int | None]  # id of a call -> group

    def of(self, group: int | None) -> list[Bounding]:
        """Return those of one group's code."""
        return [call for call in self.calls if self.groups[id(call)] == group]

    def near(self, call: Bounding) -> list[Bounding]:
        """Return those that are given as many values as `call`: a loop calls them by thousands."""
        sizes = dict.fromkeys(view.span.size for view in call.views)
        found = [other for size in sizes for other in self.by_size.get(size, ())]
        return list({id(other): other for other in found}.values())

    @cached_property
    def by_size(self) -> dict[int, list[Bounding]]:
        """Return {how many values one is given: all that are given as many}."""
        found: dict[int, list[Bounding]] = {}
        for call in self.calls:
            for size in dict.fromkeys(view.span.size for view in call.views):
                found.setdefault(size, []).append(call)
        return found


def compare_bounds(
    trace: Trace, bounds: Sequence[Bounding], pairing: Pairing, *, whole: bool
) -> list[Comparison]:
    """Compare what the port's plain run called with what the reference called.

    Args:
        bounds: the port's.
        whole: everything else is equal, so that what one side has not at all may be said too.

    Returns:
        A difference where both are given the same values and part beyond them, or where one side
        bounds values and the other does not; could not check where code may do it another way.
    """
    theirs, ours = _reference(trace, pairing), _port(bounds, pairing)
    matched = {
        id(call)
        for one, other in ((theirs, ours), (ours, theirs))
        for call in one.calls
        if any(_is_same(a, b) for a, b in _pairs(call, other.near(call)))
    }
    found: dict[tuple[str, Cause], Comparison] = {}
    layers = {group: path for path, group in reversed(list(pairing.port_group.items()))}

    def differs(call: Bounding, group: int | None, verdict: str, cause: Cause) -> None:
        layer = layers.get(group, "") if group is not None else ""
        into = Comparison(layer, layer, f"function:{call.function}", "glue", verdict=verdict)
        into.cause = cause
        if verdict == DIFFERS:
            into.relative_error = float("inf")
        found.setdefault((layer, cause), into)

    parted: set[int] = set()
    for call, other, group in _partings(theirs, ours, matched):
        one_known = (id(call) in matched) != (id(other) in matched)
        if id(call) in parted or (one_known and id(other) in parted):
            continue
        cause = _parting(call, other)
        if cause is not None:
            differs(other, group, DIFFERS, cause)
            parted |= {id(call), id(other)}
    if whole:
        sides = ((theirs, ours, "bound_missing"), (ours, theirs, "bound_added"))
        for side, opposite, kind in sides:
            for call in side.calls:
                if id(call) in matched | parted or not _may_be_said(call) or not _keeps(call):
                    continue
                group = side.groups[id(call)]
                unknown = [c for c in opposite.of(group) if id(c) not in matched | parted]
                verdict = UNCHECKED if unknown else DIFFERS
                differs(call, group, verdict, _one_sided(kind, call))
    return list(found.values())


def _partings(
    theirs: _Side, ours: _Side, matched: set[int]
) -> Iterator[tuple[Bounding, Bounding, int | None]]:
    """Yield (reference's call, port's, group) of those that may stand for one another.

    One of the two at least has no partner; the other has none either, or its side has it more
    often than the opposite one: `relu(x), relu6(x)` may have become `relu(x), relu(x)`.
    """
    paired = [
        (call, other, theirs.groups[id(call)])
        for call in filter(_may_be_said, theirs.calls)
        for other in filter(_may_be_said, ours.near(call))
        if theirs.groups[id(call)] == ours.groups[id(other)]
        and not (id(call) in matched and id(other) in matched)
    ]
    for call, other, group in paired:
        if id(call) not in matched and id(other) not in matched:
            yield call, other, group
    surplus: dict[int, bool] = {}
    for call, other, group in paired:
        if (id(call) in matched) == (id(other) in matched):
            continue
        known, sides = (other, (ours, theirs)) if id(other) in matched else (call, (theirs, ours))
        if id(known) not in surplus:
            surplus[id(known)] = _is_surplus(known, *sides)
        if surplus[id(known)]:
            yield call, other, group


def _is_surplus(call: Bounding, side: _Side, opposite: _Side) -> bool:
    """Tell whether code on one side calls a function of the same values more often."""
    own, others = (
        sum(
            any(_is_same(a, b) for a, b in _pairs(call, [c]))
            for c in each.near(call)
            if _may_be_said(c)
        )
        for each in (side, opposite)
    )
    return own > others


def _reference(trace: Trace, pairing: Pairing) -> _Side:
    judged = set(pairing.reference_group)
    calls = {call.key: call for call in trace.calls}
    groups: dict[int, int | None] = {}
    for bounding in trace.bounds:
        call = nearest(None if bounding.owner is None else calls.get(bounding.owner), judged)
        groups[id(bounding)] = None if call is None else pairing.reference_group[call.path]
    return _Side(trace.bounds, groups)


def _port(bounds: Sequence[Bounding], pairing: Pairing) -> _Side:
    groups = {
        id(call): None if call.owner is None else pairing.port_group.get(call.owner[0])
        for call in bounds
    }
    return _Side(bounds, groups)


def _may_be_said(call: Bounding) -> bool:
    return call.said and call.bounds


def _pairs(call: Bounding, others: Sequence[Bounding]) -> Iterator[tuple[View, View]]:
    """Yield the functions of both that are given the same values."""
    for other in others:
        for theirs in other.views:
            for own in call.views:
                if own.span.is_same(theirs.span):
                    yield own, theirs


def _apart(one: View, other: View) -> np.ndarray | None:
    """Return where the two differ, of `GRID`; None where that is not known."""
    if one.values is None or other.values is None or one.values.shape != other.values.shape:
        return None
    with np.errstate(invalid="ignore"):
        size = np.maximum(np.abs(one.values), np.abs(other.values))
        apart: np.ndarray = ~(np.abs(one.values - other.values) <= RELATIVE * size + ABSOLUTE)
    return apart & ~(np.isnan(one.values) & np.isnan(other.values))


def _is_same(one: View, other: View) -> bool:
    apart = _apart(one, other)
    return apart is not None and not apart.any()


def _reached(view: View) -> np.ndarray:
    reached: np.ndarray = (view.span.low <= GRID) & (view.span.high >= GRID)
    return reached


def _parting(call: Bounding, other: Bounding) -> Cause | None:
    """Say where two functions part, that are equal as far as these inputs reach."""
    for theirs, ours in _pairs(call, [other]):
        apart = _apart(theirs, ours)
        if apart is None or (apart & _reached(theirs)).any():
            continue
        at = _nearest(theirs, apart)
        assert theirs.values is not None
        assert ours.values is not None
        return Cause(
            "bound_differs",
            port=other.function,
            reference=call.function,
            at=float(GRID[at]),
            ours=float(ours.values[at]),
            theirs=float(theirs.values[at]),
            low=theirs.span.low,
            high=theirs.span.high,
            source=other.place,
        )
    return None


def _nearest(view: View, apart: np.ndarray) -> int:
    """Return the index of the point at which two functions part that is nearest to those reached.

    Of those nearest on either side the one with the larger magnitude shows it best.
    """
    away = np.maximum(view.span.low - GRID, GRID - view.span.high)
    return int(np.where(apart, away, np.inf).argmin())


def _keeps(call: Bounding) -> bool:
    """Tell whether a call changed none of the values that it was given, and would others."""
    if not call.views or call.views[0].values is None:
        return False
    view = call.views[0]
    assert view.values is not None
    changed = np.abs(view.values - GRID) > RELATIVE * np.abs(GRID) + ABSOLUTE
    return bool(changed.any() and not (changed & _reached(view)).any()) and _ends_kept(view)


def _ends_kept(view: View) -> bool:
    """Tell whether the values lie on one stretch that is kept, without a point of `GRID` too."""
    assert view.values is not None
    changed = np.abs(view.values - GRID) > RELATIVE * np.abs(GRID) + ABSOLUTE
    middle = (view.span.low + view.span.high) / 2
    return not changed[int(np.abs(GRID - middle).argmin())]


def _one_sided(kind: str, call: Bounding) -> Cause:
    span = call.views[0].span
    return Cause(kind, function=call.function, low=span.low, high=span.high, source=call.place)
