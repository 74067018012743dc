"""Pairs the calls of a layer that the port calls in another order than the reference.

A head that several levels of a pyramid share may be called from the finest level on, or from the
coarsest: if nothing else hangs on the order, both are the same net. What the calls were given in
the plain run says which is which; calls inside them follow theirs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from align.judge.where import Where
from align.judge.words import Cause, joined
from align.record.draws import CallKey
from align.record.trace import Call

# Where a call's outputs are as close as this, relatively, it is not asked which one it is.
CLOSE = 1e-3
# Another order must explain the inputs so many times better than the order in which they come.
BETTER = 10.0

GroupCall = tuple[int, int]  # group of layers, number of the call


@dataclass
class PortCall:
    """One call of the port's plain run. `parent` is the matched call whose code called it.

    `distances` are those of its inputs from the inputs of each of the group's recorded calls;
    None where its outputs are the recorded ones.
    """

    path: str
    key: GroupCall
    parent: "PortCall | None"
    distances: list[float] | None = None


@dataclass(frozen=True)
class Moved:
    """Calls of layer `path` that the code of layer `parent` makes in another order."""

    parent: str
    path: str
    cause: Cause


@dataclass
class Order:
    """`of` gives, per group in another order, the number of the recorded call for each call.

    Empty where all calls come in the reference's order.
    """

    of: dict[int, list[int]] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)

    def applied(self, calls: Mapping[int, list[Call]]) -> dict[int, list[Call]]:
        """Return each group's recorded calls in the order in which the port makes them."""
        return {
            g: [own[i] for i in self.of[g]] if g in self.of else own for g, own in calls.items()
        }

    def cause_of(self, layer: str, where: str) -> Cause | None:
        """Return which order may explain a difference at `layer`: of its calls, or its parts'."""
        return joined(
            moved.cause
            for moved in self.moved
            if layer == moved.parent
            or (Where.of(where).kind == "buffer" and f"{layer}.".startswith(f"{moved.path}."))
        )


@dataclass(frozen=True)
class PortOrder:
    """How a run of the port takes the recording: what it does otherwise than the reference.

    `order` is that in which it makes the calls; its code of the calls `below` keeps what is below
    a rate, where the reference's keeps what is above.
    """

    order: Order = field(default_factory=Order)
    below: frozenset[CallKey] = frozenset()


def find_order(port: Sequence[PortCall], recorded: Mapping[int, list[Call]]) -> Order:
    """Return the order of the calls of `port`, which stand in the order in which they began.

    `recorded` are the reference's calls of each group. Only calls that the same call makes change
    places; where their numbers differ they are left as they come.
    """
    theirs = _siblings(recorded)
    ours: dict[tuple[GroupCall | None, int], list[PortCall]] = {}
    for call in port:
        above = None if call.parent is None else call.parent.key
        ours.setdefault((above, call.key[0]), []).append(call)
    partner: dict[GroupCall | None, GroupCall | None] = {None: None}
    found = Order()
    for (above, group), own in ours.items():
        candidates = theirs.get((partner.get(above), group), []) if above in partner else []
        if len(own) != len(candidates):
            continue
        chosen = _chosen(own, candidates)
        if chosen != candidates:
            found.moved.append(_moved(own, candidates, chosen))
        partner |= {c.key: (group, index) for c, index in zip(own, chosen, strict=True)}
    if found.moved:
        found.of = _complete(partner, recorded)
    return found


def _siblings(recorded: Mapping[int, list[Call]]) -> dict[tuple[GroupCall | None, int], list[int]]:
    """Return {(matched call around, group): numbers of the calls that it makes}."""
    keys = {id(c): (group, i) for group, own in recorded.items() for i, c in enumerate(own)}
    found: dict[tuple[GroupCall | None, int], list[int]] = {}
    for group, own in recorded.items():
        for index, call in enumerate(own):
            above = call.parent
            while above is not None and id(above) not in keys:
                above = above.parent
            key = None if above is None else keys[id(above)]
            found.setdefault((key, group), []).append(index)
    return found


def _chosen(own: Sequence[PortCall], candidates: list[int]) -> list[int]:
    """Return which recorded call each call is: as they come, unless others fit far better."""
    chosen = []
    for call, as_it_comes in zip(own, candidates, strict=True):
        apart = call.distances
        if apart is None:
            chosen.append(as_it_comes)
            continue
        nearest = min(candidates, key=lambda index: apart[index])
        far = apart[nearest] * BETTER >= apart[as_it_comes] or not math.isfinite(apart[nearest])
        chosen.append(as_it_comes if far else nearest)
    return chosen if len(set(chosen)) == len(chosen) else candidates


def _moved(own: Sequence[PortCall], candidates: list[int], chosen: list[int]) -> Moved:
    path = own[0].path
    parent = own[0].parent.path if own[0].parent is not None else ""
    numbers = ", ".join(str(candidates.index(index) + 1) for index in chosen)
    ours = ", ".join(str(number + 1) for number in range(len(own)))
    name = path.removeprefix("net.") or "(root)"
    cause = Cause("called_in_another_order", path=name, port=ours, reference=numbers)
    return Moved(parent, path, cause)


def _complete(
    partner: Mapping[GroupCall | None, GroupCall | None], recorded: Mapping[int, list[Call]]
) -> dict[int, list[int]]:
    """Return the orders of groups whose calls all have a partner, and another than they come in."""
    found = {}
    for group, own in recorded.items():
        pairs = [partner.get((group, index)) for index in range(len(own))]
        numbers = [pair[1] for pair in pairs if pair is not None]
        if sorted(numbers) == list(range(len(own))) != numbers:
            found[group] = numbers
    return found
