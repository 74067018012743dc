"""Runs the port on the reference's tensors, and judges every call of it."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import paddle
from paddle import nn

from align.arrays.arguments import Forward
from align.arrays.arrays_paddle import is_tensor, shared, to_array
from align.arrays.trees import leaf_names, leaves, map_leaves
from align.force.call_order import PortOrder
from align.force.choices.functions_paddle import asked
from align.force.choices.given import ChoiceGiver
from align.force.forced_run import ForcedRun
from align.force.frame import NeedsWholeRun, RunningCall, Seen
from align.force.framework_paddle import PaddleFramework
from align.force.pass_paddle import Pass
from align.force.stock.attention import not_turned
from align.force.stock.attention_paddle import with_arguments
from align.force.stock.boundaries_paddle import Wrap, in_the_references_shapes
from align.force.stock.cells_paddle import states_alone
from align.judge.compare import NOTHING_LEFT, Allowance, compare_gradients
from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison
from align.judge.rows import Beside, rows_apart
from align.judge.ties import Apart
from align.judge.words import Cause, joined
from align.nets.calls import wrapped_forwards
from align.nets.prepare_paddle import undone_on
from align.nets.progress import noted
from align.pairing.by_path import Pairing
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.pairing.tensors import ancestors
from align.record.choices.choice import Choice
from align.record.draws import CallKey
from align.record.trace import TENSOR, Call, CallPlace, HandedOn, Slot, Trace

Allow = Callable[[CallPlace], Allowance]


class ForcedPass(Pass):
    """The port on the reference's tensors; `judged` gets every comparison.

    With `backward` the gradients of every call are compared too, and those of the parameters, in
    `gradients`, summed over all calls, as {id of the parameter: gradient}. `random` are those that
    hang on random numbers of a function that cannot be replayed, as {id: function}, and `users`
    the paths in the reference of the calls summed over.
    """

    def __init__(
        self,
        sides: Sides[Reference],
        trace: Trace,
        pairing: Pairing,
        port_order: PortOrder,
        allow: Allow,
        judged: Callable[[Comparison, CallPlace], None],
        inexact: Mapping[CallKey, tuple[float, float]],
        *,
        backward: bool = False,
    ) -> None:
        super().__init__(sides, trace, pairing, port_order)
        self.allow = allow
        self.judged = judged
        self.inexact = inexact
        self.backward = backward
        self.gradients: dict[int, Any] = {}
        self.random: dict[int, str] = {}
        self.users: dict[int, set[str]] = {}
        self.called: set[str] = set()
        self.raised = False  # what was not called after that was not judged
        self.pending: dict[int, list[tuple[Comparison, CallPlace]]] = {}
        self.into: list[tuple[Comparison, CallPlace]] | None = None
        self.giver.told = self._draws_differ
        self.undecided: set[CallKey] = set()  # calls that differ and may keep what is below a rate
        self.own_forward: dict[str, Forward] = {}
        self.expected: set[CallKey] | None = None  # calls that are still to come in `together`
        self.forced = ForcedRun(
            PaddleFramework(backward),
            self._expected_call,
            self._judge,
            backward=backward,
            around=self._around,
            goes_on=True,
            passed_by=self._pass_on,
        )
        matched = set(pairing.reference_group)
        self.choices = ChoiceGiver(trace.choices, matched, allow, self._chose, self._otherwise)
        self.chosen = self.choices.paired
        self.differing: dict[CallKey, list[Comparison]] = {}  # by the call whose code is wrong
        self.otherwise: list[tuple[Comparison, CallPlace]] = []
        holders = {above for path in pairing.port_group for above in ancestors(path)[:-1]}
        self.leaves = set(pairing.port_group) - holders

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Stand around every layer, for `alone` and `together`."""
        wrapped = wrapped_forwards(self.matched, self._wrapping())
        with wrapped, self.replay.replaced(self.net), self._asked():
            yield

    def takes_alone(self, path: str) -> bool:
        """Tell whether the layer `path` may be judged by itself, whatever ran before."""
        return not self.layers[path]._sub_layers and not self.has_hooks(path)

    def has_hooks(self, path: str) -> bool:
        """Tell whether code runs around the forward of the layer `path`, as weight_norm's does."""
        layer = self.layers[path]
        return bool(layer._forward_pre_hooks or layer._forward_post_hooks)

    def alone(self, path: str, call: Call) -> None:
        """Judge one call of the layer `path` by itself; its place is in `run`."""
        layer = self.layers[path]
        self.pending[id(call)] = self.into = []
        try:
            frame = RunningCall(path, call, layer)
            forward = noted(path, layer, self.own_forward[path])
            self.forced.run_alone(frame, forward, (shared(call.inputs[0]),), {})
        finally:
            self.into = None

    def together(
        self,
        path: str,
        call: Call,
        within: list[Call],
        arguments: Any,
        accept: Callable[[Mapping[int, Any]], bool] | None = None,
    ) -> bool:
        """Judge one call and the code inside it by itself, where all of it is equal.

        Its place is in `run`. Where anything differs, other calls than `within` come, or `accept`
        says no to the gradients of parameters, the answer is False and all is as if it had not
        run: `run` judges it again, in its order.
        """
        layer = self.layers[path]
        forward = noted(path, layer, self.own_forward[path])
        args, kwargs = map_leaves(
            arguments, lambda v: shared(call.inputs[v.index]) if isinstance(v, Slot) else v
        )
        before = dict(self.pending), dict(self.counts), self.called.copy(), self.undecided.copy()
        gradients, summed = self.forced.gradients, self.forced.summed
        self.forced.gradients, self.forced.summed = {}, {}
        self.expected, self.into = {each.key for each in within}, []
        try:
            with suppress(_Apart), undone_on(_Apart, layer):
                self._run_together(RunningCall(path, call, layer), forward, args, kwargs)
                if accept is not None and not accept(self.forced.gradients):
                    raise _Apart
                found, trial = self.into, (self.forced.gradients, self.forced.summed)
                self.forced.gradients, self.forced.summed = gradients, summed
                self.forced.add(*trial)
                self.pending[id(call)] = found
                return True
        finally:
            self.expected, self.into = None, None
        self.forced.gradients, self.forced.summed = gradients, summed
        self.pending, self.counts, self.called, self.undecided = before
        return False

    def _run_together(self, frame: RunningCall, forward: Forward, args: tuple, kwargs: Any) -> None:
        """Run one call and the code inside it; raises _Apart if that is not to be kept."""
        try:
            self.forced.run_alone(frame, forward, args, kwargs)
        except Exception as error:
            raise _Apart from error
        if self.expected:
            raise _Apart

    def run(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Run it; what the layers update (running statistics) stays updated."""
        mode = nullcontext() if self.backward else paddle.no_grad()
        wrapped = wrapped_forwards(self.matched, self._wrapping())
        with mode, wrapped, self.replay.replaced(self.net), self._asked():
            self.net(*args, **kwargs)
        for found in self.pending.values():  # calls that this run did not come to
            for comparison, place in found:
                self._tell(comparison, place)
        self.pending.clear()
        self._tell_otherwise()
        self.gradients = self.forced.gradients
        if self.forced.unfed:
            self.raised = True
            self.called -= self.forced.unfed
        unknown = self.giver.unknown
        self.random = {
            key: unknown[call]
            for key, calls in self.forced.summed.items()
            for call in calls & unknown.keys()
        }
        self.users = {key: {c[0] for c in calls} for key, calls in self.forced.summed.items()}
        del self.forced, self.choices  # they and this pass hold each other
        self.giver.told = None

    def _asked(self) -> AbstractContextManager[None]:
        """Judge the discrete steps of the port's code, where the reference takes any."""
        return asked(self._choose) if self.choices.choices else nullcontext()

    def _choose(self, own: Choice) -> np.ndarray | None:
        frame = self.forced.stack[-1] if self.forced.stack else None
        return None if frame is None or not frame.fed else self.choices.next(frame, own)

    def _chose(self, frame: RunningCall, number: int, own: Choice, apart: Apart) -> None:
        """Note a discrete step that chose otherwise; its code goes on with the reference's."""
        kind, where = "layer" if frame.path in self.leaves else "glue", f"choice:{number}"
        call = f"{frame.call.path}#{frame.call.index}"
        into = Comparison(frame.path, call, where, kind, tuple(own.result.shape))
        into.verdict = NOISE if apart.tied else DIFFERS
        into.relative_error = 0.0 if apart.tied else float("inf")
        into.worst_index, into.cause = apart.index, apart.cause
        into.port_value, into.reference_value = apart.ours, apart.theirs
        self._unless_equal(into)
        self._tell(into, frame.call.place(where))

    def _around(self, path: str, call: Call, forward: Forward) -> Forward:
        run = self.around(path, call, forward)
        if call.key not in self.choices.choices:
            return run

        def chooses(*args: Any, **kwargs: Any) -> Any:
            outputs = run(*args, **kwargs)
            self.choices.leave(self.forced.stack[-1])
            return outputs

        return chooses

    def _otherwise(self, frame: RunningCall, number: int, own: Choice, cause: Cause) -> None:
        """Keep what a discrete step does otherwise, until it is known if that shows."""
        where = f"choice:{number}"
        call = f"{frame.call.path}#{frame.call.index}"
        kind = "layer" if frame.path in self.leaves else "glue"
        into = Comparison(frame.path, call, where, kind, tuple(own.result.shape), UNCHECKED)
        into.cause = cause
        self._unless_equal(into)
        self.otherwise.append((into, frame.call.place(where)))

    def _tell_otherwise(self) -> None:
        """Say why a call's code is wrong, or that these inputs do not show what it does."""
        for comparison, place in self.otherwise:
            wrong = self.differing.get(place[:2], [])
            kind = comparison.cause.kind if comparison.cause else ""
            for each in wrong:
                if each.cause is None or not each.cause.has(kind):
                    each.cause = joined([each.cause, comparison.cause])
            if not wrong:
                assert comparison.cause is not None
                comparison.cause = comparison.cause.also(Cause("not_shown"))
                self._tell(comparison, place)

    def _wrapping(self) -> Wrap:
        return in_the_references_shapes(self.boundaries, states_alone(self._wrap))

    def _wrap(self, path: str, layer: nn.Layer, forward: Forward) -> Forward:
        self.own_forward[path] = forward
        forced = self.forced.wrap(path, layer, forward)

        def judged(*args: Any, **kwargs: Any) -> Any:
            return self.maps.restored(path, forced(*args, **kwargs))

        return with_arguments(layer, judged if isinstance(layer, nn.MultiHeadAttention) else forced)

    def _pass_on(self, path: str, call: Call) -> None:
        """Pass on what was found when the call was judged alone."""
        for comparison, place in self.pending.pop(id(call)):
            self._tell(comparison, place)

    def _tell(self, comparison: Comparison, place: CallPlace) -> None:
        if self.into is None:
            self.judged(comparison, place)
        else:
            self.into.append((comparison, place))

    def _expected_call(self, path: str) -> Call | None:
        self.replay.check()
        call = self.next_call(path)
        if call is None and not self.calls.get(self.pairing.port_group[path]):
            return None  # the reference never calls it, and the pass before did not come so far
        if call is None:  # uneven groups are taken apart before: only a net that varies
            raise RuntimeError(f"{path} was called more often than in the pass before")
        if self.expected is not None:
            if call.key not in self.expected:
                raise _Apart
            self.expected.discard(call.key)
        self.called.add(path)
        return call

    def _draws_differ(self, path: str, key: CallKey, why: Cause) -> None:
        """Say that a call of the port does not draw what its partner does."""
        kind = "layer" if path in self.leaves else "glue"
        into = Comparison(path, f"{key[0]}#{key[1]}", "random", kind, verdict=DIFFERS)
        into.relative_error, into.cause = float("inf"), why
        self._unless_equal(into)
        self._tell(into, (*key, "random"))

    def _judge(self, seen: Seen) -> None:
        """Compare one tensor at one boundary and pass the comparison on."""
        kind = "layer" if seen.culprit in self.leaves else "glue"
        into = Comparison(seen.culprit, f"{seen.call.path}#{seen.call.index}", seen.where, kind)
        into.kernels = sorted(seen.code.kernels)
        if seen.raised:
            self.raised = True
            into.verdict, into.relative_error, into.cause = DIFFERS, float("inf"), seen.raised
            self._unless_equal(into)
            self._tell(into, seen.place)
            return
        if seen.counts is not None:
            into.verdict, into.relative_error = DIFFERS, float("inf")
            nothing = seen.counts[0] == 0 and into.at.kind == "output"
            kind = "returns_nothing" if nothing else "tensor_count"
            into.cause = Cause(kind, port=seen.counts[0], reference=seen.counts[1])
            self._unless_equal(into)
            self._tell(into, seen.place)
            return
        unknown = self.giver.unknown.get(seen.code.key, "")
        allowance = Allowance(random=unknown) if unknown else self.allow(seen.place)
        errors = self.inexact.get(seen.code.key)
        if errors:
            allowance = replace(allowance, inexact=errors[into.at.is_gradient])
        if isinstance(seen.expected, HandedOn):
            into.shape, scale = seen.expected.shape, seen.expected.largest
            into.floor = allowance.of(scale, math.prod(into.shape)) / (scale or 1.0)
            into.scale = scale
        else:
            found = _array(seen.found)
            compare_gradients(seen.expected, found, allowance, into)
            if into.verdict == DIFFERS:
                more = _shape_rule(seen, found) or _row(seen, into)
                into.cause = joined([into.cause, more])
            if into.verdict == DIFFERS and into.at.kind == "input":
                turned = not_turned(seen.call, seen.expected, found)
                into.cause = joined([into.cause, turned])
            if seen.cause and into.verdict == DIFFERS:
                into.cause = seen.cause
        if into.verdict == DIFFERS and seen.code.key in self.giver.either:
            self.undecided.add(seen.code.key)
        self._unless_equal(into)
        if into.verdict == DIFFERS:
            self.differing.setdefault(seen.code.key, []).append(into)
        self._tell(into, seen.place)

    def _unless_equal(self, found: Comparison) -> None:
        """Leave `together` where anything is not equal."""
        if self.expected is not None and found.verdict != EQUAL:
            raise _Apart


class _Apart(NeedsWholeRun):
    """One call is not to be judged by itself."""


def _row(seen: Seen, into: Comparison) -> Cause | None:
    """Say which row of a list of boxes, or of what they are, the two sides do not share."""
    expected, tensors = seen.beside
    whole = isinstance(seen.expected, np.ndarray) and seen.expected.dtype.kind in "iub"
    listed = whole or into.relative_error > NOTHING_LEFT
    if into.at.is_gradient or not listed or len(expected) != len(tensors) or not expected:
        return None  # a number between modules stands beside nothing
    if into.at.kind == "output" and seen.call.template is not None:
        every = zip(leaf_names(seen.call.template), leaves(seen.call.template), strict=True)
        names = [name for name, leaf in every if leaf is TENSOR]
    else:
        names = [str(index) for index in range(len(expected))]
    if len(names) != len(expected):
        return None
    arrays = [to_array(tensor) if is_tensor(tensor) else tensor for tensor in tensors]
    if not all(isinstance(array, np.ndarray) for array in arrays):
        return None
    return rows_apart(Beside(names, expected, arrays), int(into.at.name))


def _shape_rule(seen: Seen, found: np.ndarray | None) -> Cause | None:
    """Return the rule that says of a tensor that its shape alone differs, by axes of one."""
    if not isinstance(seen.expected, np.ndarray) or found is None or "grad" in seen.where:
        return None
    theirs, ours = seen.expected.shape, found.shape
    if theirs == ours or [n for n in theirs if n != 1] != [n for n in ours if n != 1]:
        return None
    return Cause("shape_rule", shape=list(theirs))


def _array(value: Any) -> np.ndarray | None:
    return to_array(value) if is_tensor(value) else value
