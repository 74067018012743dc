"""One run of the port: every matched layer wrapped, the reference's draws given."""

from typing import Any

from paddle import nn

from align.arrays.arguments import Forward
from align.force.call_order import PortOrder
from align.force.given_draws import DrawGiver
from align.force.given_draws_paddle import GivenDraws
from align.force.stock.attention import turned
from align.force.stock.attention_paddle import HeadMaps, adapted, inside
from align.force.stock.cells_paddle import states_alone
from align.nets.calls import wrapped_forwards
from align.pairing.by_path import Pairing
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.record.trace import Call, Trace


class Pass:
    """What both passes share: which call of the reference a call of the port stands for.

    `pairing` is that of `sides`, or without what is judged as glue.
    """

    def __init__(
        self, sides: Sides[Reference], trace: Trace, pairing: Pairing, port_order: PortOrder
    ) -> None:
        self.layers: dict[str, nn.Layer] = sides.layers
        self.net: nn.Layer = sides.port
        self.boundaries = sides.boundaries
        self.pairing = pairing
        self.trace = trace
        self.port_order = port_order
        self.calls: dict[int, list[Call]] = {}
        for call in trace.calls:
            if call.path in pairing.reference_group:
                self.calls.setdefault(pairing.reference_group[call.path], []).append(call)
        self.calls = port_order.order.applied(self.calls)
        self.counts: dict[int, int] = {}
        self.ported: dict[tuple[int, int], Call] = {}  # by group and index
        self.giver = DrawGiver(trace.draws, set(pairing.reference_group), port_order.below)
        self.replay = GivenDraws(self.giver)
        self.maps = HeadMaps()

    @property
    def matched(self) -> dict[str, nn.Layer]:
        """The layers that have a partner, by first path."""
        return {path: self.layers[path] for path in self.pairing.port_group}

    def around(self, path: str, call: Call, forward: Forward) -> Forward:
        """Return what runs in place of `forward`: with the draws, and the outputs, of `call`."""
        drawn = self.replay.around(path, call, forward)
        return self.maps.averaged(path, self.layers[path], call, drawn)

    def next_call(self, path: str) -> Call | None:
        """Return the reference's call that the next one of `path` stands for, if there is one."""
        group = self.pairing.port_group[path]
        index = self.counts.get(group, 0)
        self.counts[group] = index + 1
        calls = self.calls.get(group, [])
        if index >= len(calls):
            return None
        above = self.layers.get(path.rpartition(".")[0]) if path else None
        call = inside(above, calls[index])
        if call is not calls[index]:
            self.giver.change(call.key, turned)
        return self.ported.setdefault((group, index), adapted(self.layers[path], call))


def draws_only(trace: Trace) -> Trace:
    """Return the same calls with nothing but what they drew."""
    calls = [Call(call.path, call.index) for call in trace.calls]
    return Trace(calls=calls, paths=trace.paths, draws=trace.draws)


def run_with_draws(given: Pass, args: tuple) -> Any:
    """Run the port as its user does, with the random numbers that the reference drew."""

    def wrap(path: str, layer: nn.Layer, forward: Forward) -> Forward:
        def run(*args: Any, **kwargs: Any) -> Any:
            call = given.next_call(path)
            chosen = forward if call is None else given.replay.around(path, call, forward)
            return chosen(*args, **kwargs)

        return run

    with wrapped_forwards(given.matched, states_alone(wrap)), given.replay.replaced(given.net):
        return given.net(*args)
