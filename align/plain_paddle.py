"""Runs the port as its user does, for the cumulative error and the order of its calls."""

import math
from typing import Any

import numpy as np
import paddle
from paddle import nn

from align.arrays_paddle import is_tensor, to_array
from align.attention import turned
from align.attention_paddle import adapted, inside
from align.calls import Forward, bind, wrapped_forwards
from align.cells_paddle import states_alone
from align.distances import distance
from align.draws import Giver
from align.draws_paddle import Replay
from align.layers_paddle import layers_by_path
from align.order import CLOSE, PortCall, find_order
from align.pairing import Pairing
from align.prepare_paddle import state_kept
from align.trace import Call, Place, Slot, Trace
from align.trees import leaves, map_leaves


class Pass:
    """What both passes share: which call of the reference a call of the port stands for."""

    def __init__(self, net: nn.Layer, trace: Trace, pairing: Pairing) -> None:
        self.layers = layers_by_path(net)
        self.net = net
        self.pairing = pairing
        self.trace = trace
        self.calls: dict[int, list[Call]] = {}
        for call in trace.calls:
            if call.path in pairing.reference_group:
                self.calls.setdefault(pairing.reference_group[call.path], []).append(call)
        if trace.order is not None:
            self.calls = trace.order.applied(self.calls)
        self.counts: dict[int, int] = {}
        self.ported: dict[tuple[int, int], Call] = {}  # by group and index
        self.giver = Giver(trace.draws, set(pairing.reference_group), trace.below)
        self.replay = Replay(self.giver)

    @property
    def matched(self) -> dict[str, nn.Layer]:
        """The layers that have a partner, by first path."""
        return {path: self.layers[path] for path in self.pairing.port_group}

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


class PlainPass(Pass):
    """The port as its user runs it. Afterwards `errors` holds each output's cumulative error.

    It draws what the reference drew; all else is the port's own.
    """

    def __init__(self, net: nn.Layer, trace: Trace, pairing: Pairing) -> None:
        super().__init__(net, trace, pairing)
        self.errors: dict[Place, float] = {}
        self.failure = ""
        self.plainly_called: dict[int, str] = {}  # id of a call -> path: one tensor in, one out
        self.made: list[PortCall] = []  # in the order in which they began
        self.running: list[PortCall] = []
        # Id of a call -> path and arguments, with a `Slot` in place of each tensor.
        self.given: dict[int, tuple[str, Any]] = {}

    def run(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Run it; the net's state is as before afterwards."""
        wrapped = wrapped_forwards(self.matched, states_alone(self._wrap))
        with state_kept(self.net), paddle.no_grad(), wrapped, self.replay.replaced(self.net):
            try:
                self.net(*args, **kwargs)
            except Exception as error:
                # The forced pass goes on from the reference's tensors and finds where it starts.
                self.failure = (str(error).strip() or type(error).__name__).splitlines()[-1]

    def _wrap(self, path: str, layer: nn.Layer, forward: Forward) -> Forward:
        """Note the distance of every output from the reference's."""

        def plain(*args: Any, **kwargs: Any) -> Any:
            group = self.pairing.port_group[path]
            key = (group, self.counts.get(group, 0))
            call = self.next_call(path)
            if call is None:
                return forward(*args, **kwargs)
            slots = _as_slots(forward, args, kwargs, len(call.inputs))
            if slots is not None:
                self.given[id(call)] = path, slots
            made = PortCall(path, key, self.running[-1] if self.running else None)
            self.made.append(made)
            self.running.append(made)
            try:
                outputs = self.replay.around(path, call, forward)(*args, **kwargs)
            finally:
                self.running.pop()
            if not kwargs and len(args) == 1 and is_tensor(args[0]) and is_tensor(outputs):
                self.plainly_called[id(call)] = path
            found = [to_array(leaf) for leaf in leaves(outputs) if is_tensor(leaf)]
            for index, (ours, theirs) in enumerate(zip(found, call.outputs, strict=False)):
                error = self.errors[call.place(f"output:{index}")] = _distance(theirs, ours)
                if not error <= CLOSE and made.distances is None:
                    made.distances = self._distances(group, (args, kwargs))
            return outputs

        return plain

    def _distances(self, group: int, arguments: Any) -> list[float] | None:
        """Return how far these arguments are from those of each recorded call of the group."""
        if len(self.calls[group]) < 2:
            return None
        ours = [to_array(leaf) for leaf in leaves(arguments) if is_tensor(leaf)]
        return [
            max(map(_distance, call.inputs, ours), default=math.inf)
            if len(call.inputs) == len(ours)
            else math.inf
            for call in self.calls[group]
        ]

    def uneven_groups(self) -> dict[int, tuple[int, int]]:
        """Return {group: (calls in the reference, calls in the port)} where these differ."""
        if self.failure:
            return {}
        groups = set(self.pairing.port_group.values())
        counts = {g: (len(self.calls.get(g, [])), self.counts.get(g, 0)) for g in groups}
        return {group: pair for group, pair in counts.items() if pair[0] != pair[1]}


def plain_pass(
    net: nn.Layer, trace: Trace, pairing: Pairing, arguments: tuple[tuple, dict[str, Any]]
) -> PlainPass:
    """Return the plain pass, run; `trace.order` is that of its calls, where it is another."""
    trace.order = None
    plain = PlainPass(net, trace, pairing)
    plain.run(*arguments)
    order = find_order(plain.made, plain.calls)
    if not order.of:
        return plain
    trace.order = order
    plain = PlainPass(net, trace, pairing)
    plain.run(*arguments)
    return plain


def _as_slots(forward: Forward, args: tuple, kwargs: dict[str, Any], count: int) -> Any:
    """Return (args, kwargs) with slots in the order of the signature; None if there is none."""
    bound = bind(forward, args, kwargs)
    order = leaves([args, kwargs] if bound is None else list(bound.arguments.values()))
    tensors = [id(leaf) for leaf in order if is_tensor(leaf)]
    if len(tensors) != count or len(set(tensors)) != count:
        return None
    return map_leaves(
        (args, kwargs), lambda leaf: Slot(tensors.index(id(leaf))) if is_tensor(leaf) else leaf
    )


def run_with_draws(net: nn.Layer, trace: Trace, pairing: Pairing, args: tuple) -> Any:
    """Run `net` as its user does, with the random numbers that the reference drew."""
    given = Pass(net, trace, pairing)

    def wrap(path: str, layer: nn.Layer, forward: Forward) -> Forward:
        def run(*args: Any, **kwargs: Any) -> Any:
            call = given.next_call(path)
            chosen = forward if call is None else given.replay.around(path, call, forward)
            return chosen(*args, **kwargs)

        return run

    with wrapped_forwards(given.matched, states_alone(wrap)), given.replay.replaced(net):
        return net(*args)


def _distance(reference: np.ndarray, port: np.ndarray) -> float:
    if reference.shape != port.shape:
        return float("inf")
    if reference.size == 0:
        return 0.0
    found = distance(reference, port)
    return found.worst / (found.largest or 1.0)
