"""Runs the port as its user does, for the cumulative error and the order of its calls."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np
import paddle
from paddle import nn

from align.arrays.arguments import Forward, bind
from align.arrays.arrays_paddle import is_tensor, to_array
from align.arrays.distances import distance
from align.arrays.orders import picked
from align.arrays.trees import leaves, map_leaves
from align.force.bounds_paddle import PaddleBounds, watched
from align.force.call_order import CLOSE, PortCall, PortOrder, find_order
from align.force.casts_paddle import CastPass, Casts
from align.force.choices.functions_paddle import asked
from align.force.choices.given import ChoiceGiver
from align.force.forced_run import input_order, output_order
from align.force.frame import RunningCall
from align.force.operators_paddle import InexactOperators
from align.force.pass_paddle import Pass
from align.force.stock.boundaries_paddle import in_the_references_shapes
from align.force.stock.cells_paddle import states_alone
from align.judge.compare import UNITS, Allowance
from align.judge.ties import Apart
from align.judge.words import Words
from align.nets.calls import wrapped_forwards
from align.nets.casts.told import told_of_casts, told_of_operators
from align.nets.prepare_paddle import state_kept
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.record.bounds import Bounding
from align.record.choices.choice import Choice
from align.record.draws import CallKey
from align.record.trace import CallPlace, Slot, Trace
from common.nets import members
from common.places import told

# Roundings that have added up on the way to a discrete step: nothing is judged by this.
NEARLY = Allowance(unit=1e-9 / UNITS)


class PlainPass(Pass):
    """The port as its user runs it. Afterwards `errors` holds each output's cumulative error.

    It draws what the reference drew, and where its scores tie it chooses what the reference chose;
    all else is the port's own.
    """

    def __init__(self, sides: Sides[Reference], trace: Trace, port_order: PortOrder) -> None:
        super().__init__(sides, trace, sides.pairing, port_order)
        self.sides = sides
        self.errors: dict[CallPlace, float] = {}
        self.failure = ""
        self.plainly_called: dict[int, str] = {}  # id of a call -> path: one tensor in, one out
        self.begun = dict(_held_by(self.net))  # what layers hold before it runs
        self.writing: set[int] = set()  # groups whose layers write into what they get
        self.made: list[PortCall] = []  # in the order in which they began
        self.running: list[PortCall] = []
        # Id of a call -> path and arguments, with a `Slot` in place of each tensor.
        self.given: dict[int, tuple[str, Any]] = {}
        running = self.running
        self._bounds = PaddleBounds(lambda: _key_of(running[-1]) if running else None)
        self.bounds: list[Bounding] = []
        self.held: list[Words] = []  # what was done to the port's tables before
        self.casts: Casts = {}  # of calls whose own code casts to float32
        self._may_cast = False
        self.operators = InexactOperators(sides, trace)
        judged = set(sides.pairing.reference_group)
        self.choices = ChoiceGiver(trace.choices, judged, lambda place: NEARLY, _nothing_told)
        self.frames: list[RunningCall] = []

    def _cast(self, flows: bool, line: str, tensor: paddle.Tensor) -> None:
        self._may_cast = True

    def run(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Run it; the net's state is as before afterwards."""
        wrap = in_the_references_shapes(self.boundaries, states_alone(self._wrap))
        wrapped = wrapped_forwards(self.matched, wrap)
        draws, bounds = self.replay.replaced(self.net), watched(self._bounds)
        casts = told_of_casts(self._cast)
        operators = told_of_operators(self.operators.called)
        choices = asked(self._choose) if self.choices.choices else nullcontext()
        observed = (draws, bounds, casts, operators, choices)
        with state_kept(self.net), paddle.no_grad(), wrapped, ExitStack() as stack:
            for each in observed:
                stack.enter_context(each)
            try:
                self.net(*args, **kwargs)
            except Exception as error:
                # The forced pass goes on from the reference's tensors and finds where it starts.
                self.failure = told(error, type(self.net))
        self.bounds = self._bounds.finish()

    def _choose(self, own: Choice) -> np.ndarray | None:
        return self.choices.next(self.frames[-1], own) if self.frames else None

    @property
    def inexact(self) -> dict[CallKey, tuple[float, float]]:
        """Return the errors of calls whose code calls an inexact operator of Paddle."""
        return self.operators.errors

    def find_casts(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Fill `casts`, after a run that did not fail."""
        if self._may_cast and not self.failure:
            casts = CastPass(self.sides, self.trace, self.sides.pairing, self.port_order)
            self.casts = casts.run(args, kwargs)

    def _wrap(self, path: str, layer: nn.Layer, forward: Forward) -> Forward:
        """Note the distance of every output from the reference's."""

        def plain(*args: Any, **kwargs: Any) -> Any:
            group = self.pairing.port_group[path]
            key = (group, self.counts.get(group, 0))
            call = self.next_call(path)
            if call is None:
                return forward(*args, **kwargs)
            stays = self._stays(layer)
            slots = _as_slots(forward, args, kwargs, len(call.inputs))
            bound = bind(forward, args, kwargs)
            values = [args, kwargs] if bound is None else list(bound.arguments.values())
            if stays and slots is not None and input_order(call, values, is_tensor) is None:
                self.given[id(call)] = path, slots
            made = PortCall(path, key, self.running[-1] if self.running else None)
            self.made.append(made)
            self.running.append(made)
            self.operators.running.append((path, call))
            self.frames.append(RunningCall(path, call, layer))
            given = _versions((args, kwargs)) if path else []
            try:
                outputs = self.around(path, call, forward)(*args, **kwargs)
            finally:
                self.running.pop()
                self.operators.running.pop()
                self.frames.pop()
            if any(int(tensor.inplace_version) != version for tensor, version in given):
                self.writing.add(group)
            one = not kwargs and len(args) == 1 and is_tensor(args[0]) and is_tensor(outputs)
            if stays and one:
                self.plainly_called[id(call)] = path
            order = output_order(call, outputs, is_tensor)
            if order is not None:  # code around it cannot take what the reference returned
                self.given.pop(id(call), None)
            tensors = picked(order, [leaf for leaf in leaves(outputs) if is_tensor(leaf)])
            found = [to_array(leaf) for leaf in tensors]
            for index, (ours, theirs) in enumerate(zip(found, call.outputs, strict=False)):
                error = self.errors[call.place(f"output:{index}")] = _distance(theirs, ours)
                if not error <= CLOSE and made.distances is None:
                    made.distances = self._distances(group, (args, kwargs))
            return self.maps.restored(path, outputs)

        return plain

    def _stays(self, layer: nn.Layer) -> bool:
        """Tell whether `layer`, as it is called, holds the tensors that it held before the run.

        Code around it may have given it a weight that it makes for every call.
        """
        return all(self.begun.get(place) is tensor for place, tensor in _held_by(layer))

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

    def as_code_groups(self) -> set[int]:
        """Return the groups of layers that write into what code around them reads, or may read.

        That is known of the reference's; the port's layers seldom work in place.
        """
        paired = self.pairing.reference_group
        return self.writing | {paired[path] for path in self.trace.as_code if path in paired}

    def uneven_groups(self) -> dict[int, tuple[int, int]]:
        """Return {group: (calls in the reference, calls in the port)} where these differ."""
        if self.failure:
            return {}
        groups = set(self.pairing.port_group.values()) - self.as_code_groups()
        counts = {g: (len(self.calls.get(g, [])), self.counts.get(g, 0)) for g in groups}
        return {group: pair for group, pair in counts.items() if pair[0] != pair[1]}


def plain_pass(
    sides: Sides[Reference],
    trace: Trace,
    below: frozenset[CallKey],
    arguments: tuple[tuple, dict[str, Any]],
) -> PlainPass:
    """Return the plain pass, run; its `port_order` has the order of its calls, and `below`."""
    plain = PlainPass(sides, trace, PortOrder(below=below))
    plain.run(*arguments)
    order = find_order(plain.made, plain.calls)
    if order.of:
        plain = PlainPass(sides, trace, PortOrder(order, below))
        plain.run(*arguments)
    plain.find_casts(*arguments)
    return plain


def _nothing_told(frame: RunningCall, number: int, own: Choice, apart: Apart) -> None:
    """Leave what differs to the forced pass."""


def _held_by(layer: nn.Layer) -> Iterator[tuple[tuple[int, str], paddle.Tensor]]:
    """Yield the tensors that a layer and those inside it hold, by (id of the holder, name)."""
    for each in members.modules(layer):
        for name, value in {**vars(each), **each._buffers, **each._parameters}.items():
            if is_tensor(value):
                yield (id(each), name), value


def _versions(tree: Any) -> list[tuple[paddle.Tensor, int]]:
    """Return the tensors of a tree, and how often code wrote into each until now."""
    return [(leaf, int(leaf.inplace_version)) for leaf in leaves(tree) if is_tensor(leaf)]


def _key_of(made: PortCall) -> CallKey:
    return made.path, made.key[1]


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


def _distance(reference: np.ndarray, port: np.ndarray) -> float:
    if reference.shape != port.shape:
        return float("inf")
    if reference.size == 0:
        return 0.0
    found = distance(reference, port)
    return found.worst / (found.largest or 1.0)
