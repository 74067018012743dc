"""The forced pass, for either framework: every judged call works on the recording alone.

Before a call its arriving inputs are shown to the judge and replaced by the recorded ones; after
it its outputs likewise. What a call hands on is a fresh leaf of the graph, so that backward falls
apart the same way: a layer's vector-Jacobian product runs from its outputs to its inputs; that of
the glue of a module runs from (inputs that arrived at its children, its outputs) to (its
children's outputs, its inputs), each with the recorded cotangents.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from align.arrays.arguments import Forward, bind
from align.arrays.orders import holds_names, order_like, picked
from align.arrays.trees import leaves, map_leaves
from align.force.frame import EscapedLeaf, HandedTensor, NeedsWholeRun, RunningCall, Seen
from align.force.framework import Cotangents, Framework
from align.judge.where import Where
from align.judge.words import Cause
from align.record.draws import CallKey
from align.record.trace import TENSOR, Call, Cotangent, HandedOn, Slot
from common.places import told


class _Number:
    """A tensor of the port that stands for a plain number of the reference, as a size may."""

    def __init__(self, tensor: Any, value: int) -> None:  # a leaf, which a dataclass is not
        self.tensor, self.value = tensor, value


class ForcedRun:
    """Wraps `forward` of the judged modules of a net (see `align.nets.calls.wrapped_forwards`).

    Args:
        framework: the tensors' framework.
        next_call: gives the recorded call that a call of a path stands for.
        visit: the judge; called for every tensor at every boundary.
        backward: also run the vector-Jacobian products.
        around: gives what runs in place of the forward of (path, call).
        goes_on: what a call raises is shown to the judge, and the code around it goes on.
        passed_by: told of (path, call) where a call comes that was judged alone.
        skips: tells whether the code of a call is not to run (the reference's own only).
    """

    def __init__(
        self,
        framework: Framework,
        next_call: Callable[[str], Call | None],
        visit: Callable[[Seen], None],
        *,
        backward: bool = False,
        around: Callable[[str, Call, Forward], Forward] | None = None,
        goes_on: bool = False,
        passed_by: Callable[[str, Call], None] | None = None,
        skips: Callable[[Call], bool] | None = None,
    ) -> None:
        self.framework = framework
        self.next_call = next_call
        self.visit = visit
        self.backward = backward
        self.around = around
        self.goes_on = goes_on
        self.passed_by = passed_by
        self.skips = skips
        self.stack: list[RunningCall] = []
        self.unfed: set[str] = set()
        self.gradients: dict[int, Any] = {}  # of parameters, summed over all calls
        self.summed: dict[int, set[CallKey]] = {}  # and the calls over which
        self.escaped: dict[int, EscapedLeaf] = {}  # by the leaf's identity

    def wrap(self, path: str, module: Any, forward: Forward) -> Forward:
        """Return the forward that judges what arrives and leaves, and hands on the recorded."""

        def forced(*args: Any, **kwargs: Any) -> Any:
            call = self.next_call(path)
            if call is None:
                return forward(*args, **kwargs)
            if call.gone:
                raise NeedsWholeRun
            if call.alone or (self.skips is not None and self.skips(call)):
                return self._pass_by(path, call, forward, args, kwargs)
            return self.run(RunningCall(path, call, module), forward, args, kwargs)

        return forced

    def run_alone(
        self, frame: RunningCall, forward: Forward, args: tuple, kwargs: dict[str, Any]
    ) -> None:
        """Judge one call that no code waits for."""
        self.run(frame, forward, args, kwargs, hands_on=False)

    def run(
        self,
        frame: RunningCall,
        forward: Forward,
        args: tuple,
        kwargs: dict[str, Any],
        hands_on: bool = True,
    ) -> Any:
        """Judge one call and return what it hands on, if it does."""
        if not self.stack:
            self.escaped.clear()  # of a run that was given up
        args, kwargs = self._arrive(frame, forward, args, kwargs)
        self.stack.append(frame)
        run = forward
        if self.around is not None:
            run = self.around(frame.path, frame.call, forward)
        try:
            outputs = run(*args, **kwargs)
        except Exception as error:
            if not self.goes_on or isinstance(error, NeedsWholeRun):
                raise
            return self._after_failure(frame, error)
        finally:
            self.stack.pop()
        return self._leave(frame, outputs, hands_on)

    def _pass_by(
        self, path: str, call: Call, forward: Forward, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Judge what arrives at a call whose code does not run; hand on what it recorded."""
        bound = bind(forward, args, kwargs)
        values = [args, kwargs] if bound is None else list(bound.arguments.values())
        order = input_order(call, values, self.framework.is_tensor)
        found = leaves(self._numbers_apart(call.inputs, values))
        tensors = self._judge_arrival(call, found, order)
        if call.alone:
            if len(tensors) != len(call.inputs):
                raise NeedsWholeRun
            if self.passed_by is not None:
                self.passed_by(path, call)
        outputs = self._recorded(call)
        return self._hand_on(call, list(filter(self.framework.is_tensor, leaves(outputs))), outputs)

    def _after_failure(self, frame: RunningCall, error: Exception) -> Any:
        """Show the judge what was raised; the code around goes on with the recorded outputs."""
        name = type(error).__name__
        words = told(error, type(frame.module)).removeprefix(name).lstrip(": ")
        raised = Cause("raises", error=name, words=words[:400])
        if not frame.fed:
            self.unfed.add(frame.path)
            return self._recorded_for_code(frame.call)
        self.visit(Seen(frame.path, frame.call, frame.call, "output:0", raised=raised))
        return self._recorded_for_code(frame.call)

    def _recorded(self, call: Call) -> Any:
        """Return leaves with the recorded outputs, in their tree."""
        arrays = iter(call.outputs)
        return map_leaves(
            call.template,
            lambda leaf: self.framework.leaf(next(arrays), None) if leaf is TENSOR else leaf,
        )

    def _recorded_for_code(self, call: Call) -> Any:
        """Return the recorded outputs for code that may work in place on them."""
        return map_leaves(
            self._recorded(call),
            lambda leaf: (
                self.framework.handed(leaf, False) if self.framework.is_tensor(leaf) else leaf
            ),
        )

    def _arrive(
        self, frame: RunningCall, forward: Forward, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        bound = bind(forward, args, kwargs)
        values = [args, kwargs] if bound is None else list(bound.arguments.values())
        call = frame.call
        values = self._numbers_apart(call.inputs, values)
        order = input_order(call, values, self.framework.is_tensor)
        tensors = self._judge_arrival(call, leaves(values), order)
        loose = self._loose(call, "input", tensors) if self.stack else {}
        fresh = self._fresh(call.inputs, tensors, _numbers(call, "input") - set(loose))
        frame.fed = fresh is not None
        for index, leaf in enumerate(fresh or ()):
            if f"input:{index}" in call.constant:
                if index in loose:
                    frame.loose.append((leaf, self._source(self.stack[-1], loose[index])))
                continue
            expected = _at(call.grad_inputs, index)
            seen = Seen(frame.path, call, call, f"grad_input:{index}", expected)
            frame.reached.append((leaf, seen))
        values = _back(self._handed(frame, call, "input", fresh, values, order))
        if bound is None:
            return values[0], values[1]
        bound.arguments.update(zip(bound.arguments, values, strict=True))
        return bound.args, bound.kwargs

    def _leave(self, frame: RunningCall, outputs: Any, hands_on: bool) -> Any:
        call = frame.call
        if any(type(leaf) is int for leaf in leaves(call.template)):
            outputs = self._numbers_apart(call.outputs, outputs)
        order = output_order(call, outputs, self.framework.is_tensor)
        tensors = picked(order, list(filter(self.framework.is_tensor, leaves(outputs))))
        if not frame.fed:  # what it makes of other tensors says nothing of its own code
            self.unfed.add(frame.path)
            return self._recorded_for_code(call)
        self._compare(frame, frame.path, call, "output", call.outputs, tensors)
        self._add_sources(frame, tensors, call.grad_outputs)
        if self.backward:
            self._differentiate(frame)
            self._judge_constants(frame, tensors)
        if not hands_on:
            return None
        if self.goes_on and len(tensors) != len(call.outputs):
            return self._recorded_for_code(call)
        return self._hand_on(call, tensors, outputs, order)

    def _judge_arrival(
        self, call: Call, found: list[Any], order: Sequence[int] | None = None
    ) -> list[Any]:
        """Judge what the code around a call hands to it; return the tensors among it, `picked`."""
        tensors = picked(order, [leaf for leaf in found if self.framework.is_tensor(leaf)])
        if self.stack and self.stack[-1].fed:  # what reaches the root is the batch itself
            parent = self.stack[-1]
            self._compare(parent, parent.path, call, "input", call.inputs, tensors)
            self._compare_numbers(parent, call, found)
            self._add_sources(parent, tensors, call.grad_inputs)
        return tensors

    def _hand_on(
        self, call: Call, tensors: list[Any], outputs: Any, order: Sequence[int] | None = None
    ) -> Any:
        """Return `outputs` with the recorded values."""
        fresh = self._fresh(call.outputs, tensors, _numbers(call, "output"))
        parent = self.stack[-1] if self.stack else None
        if parent is not None:
            for index, leaf in enumerate(fresh or ()):
                if f"output:{index}" in call.constant:
                    continue
                expected = _at(call.grad_outputs, index)
                seen = Seen(parent.path, parent.call, call, f"grad_output:{index}", expected)
                parent.reached.append((leaf, seen))
        return _back(self._handed(parent, call, "output", fresh, outputs, order))

    def _add_sources(
        self, frame: RunningCall, tensors: Sequence[Any], cotangents: Sequence[Cotangent]
    ) -> None:
        for tensor, cotangent in zip(tensors, cotangents, strict=False):
            if cotangent is not None and tuple(tensor.shape) == cotangent.shape:
                frame.sources.append((self._source(frame, tensor), cotangent))

    def _source(self, frame: RunningCall, tensor: Any) -> Any:
        """Return what stands for `tensor` in the graph of the code of `frame`."""
        version = self.framework.version(tensor)
        leaf = frame.leaf_of(tensor, version)
        for one in () if leaf is not None else self.escaped.values():
            leaf = one.leaf if one.handed.is_now(tensor, version) else leaf
        return self.framework.alias(tensor) if leaf is None else leaf

    def _loose(self, call: Call, where: str, tensors: Sequence[Any]) -> dict[int, Any]:
        """Return {index: tensor} of those that are constant in the reference and not here."""
        if not self.backward:
            return {}
        return {
            index: tensor
            for index, tensor in enumerate(tensors)
            if f"{where}:{index}" in call.constant and self.framework.takes_gradient(tensor)
        }

    def _products(
        self, frame: RunningCall, own: Sequence[Any], parameters: Sequence[Any]
    ) -> list[Any | None]:
        """Return the vector-Jacobian product of one frame; a leaf is its own derivative."""
        wrt = [*own, *parameters]
        places = {id(leaf): index for index, leaf in enumerate(own)}
        direct: dict[int, np.ndarray | HandedOn] = {}
        computed: dict[int, Cotangents] = {}
        for tensor, cotangent in frame.sources:
            key = id(tensor)
            if key in places:
                direct[key] = _sum(direct.get(key), cotangent)
            else:
                before = computed.get(key)
                total = _sum(None if before is None else before[1], cotangent)
                if isinstance(total, HandedOn):
                    raise NeedsWholeRun
                computed[key] = tensor, total
        sources = list(computed.values())
        found: list[Any] = [None] * len(wrt)
        if sources:
            found = self.framework.vjp(sources, wrt)
        for key, total in direct.items():
            index = places[key]
            if isinstance(total, HandedOn):
                if found[index] is not None:
                    raise NeedsWholeRun
                found[index] = total
                continue
            here, before = self.framework.cotangent(total, wrt[index]), found[index]
            found[index] = here if before is None or here is None else before + here
        return found

    def _differentiate(self, frame: RunningCall) -> None:
        """Run the vector-Jacobian product of one frame; show its gradients to the judge."""
        parameters = self.framework.parameters(frame.module)
        self._judge_escaped()
        escaped = list(self.escaped.values())
        leaves_of = [entry[0] for entry in (*frame.reached, *frame.loose)]
        leaves_of += [one.leaf for one in escaped]
        found = self._products(frame, leaves_of, list(parameters.values()))
        count, first = len(frame.reached), len(frame.reached) + len(frame.loose)
        for (_, source), gradient in zip(frame.loose, found[count:first], strict=True):
            if gradient is not None:  # the code around lets it flow on
                self.stack[-1].sources.append((source, self.framework.values(gradient)))
        for one, gradient in zip(escaped, found[first : len(leaves_of)], strict=True):
            one.add(gradient)
        handed = {id(one.leaf): one for one in frame.handed.values()}
        for (leaf, seen), gradient in zip(frame.reached, found, strict=False):
            seen.found = gradient
            if id(leaf) in handed and handed[id(leaf)].tensor() is not None:
                self.escaped[id(leaf)] = EscapedLeaf(handed[id(leaf)], seen)
            else:
                self._judge_gradient(seen)
        self._judge_escaped(ended=not self.stack)
        self._add_gradients(frame, parameters, found[len(leaves_of) :])

    def _judge_escaped(self, ended: bool = False) -> None:
        """Judge the gradients of leaves that no code can read any more, or of all."""
        for key, one in list(self.escaped.items()):
            if ended or one.handed.tensor() is None:
                self._judge_gradient(self.escaped.pop(key).seen)

    def _judge_gradient(self, seen: Seen) -> None:
        """Show the judge the gradient of a leaf, once all of it has come."""
        both = seen.expected, seen.found
        if any(isinstance(one, HandedOn) for one in both) and both[0] is not both[1]:
            raise NeedsWholeRun
        if any(one is not None for one in both):
            self.visit(seen)

    def _add_gradients(
        self, frame: RunningCall, parameters: Iterable[int], found: Sequence[Any | None]
    ) -> None:
        arrived = {k: g for k, g in zip(parameters, found, strict=True) if g is not None}
        self.add(arrived, {key: {frame.call.key} for key in arrived})

    def add(self, gradients: Mapping[int, Any], summed: Mapping[int, set[CallKey]]) -> None:
        """Add gradients of parameters, and the calls over which they are summed."""
        for key, gradient in gradients.items():
            self.summed.setdefault(key, set()).update(summed[key])
            kept = self.gradients.get(key)
            self.gradients[key] = gradient if kept is None else kept + gradient

    def _judge_constants(self, frame: RunningCall, tensors: Sequence[Any]) -> None:
        """Show the judge what flows back through outputs to which nothing flows in the reference.

        That is measured with a cotangent of N(0, 1).
        """
        loose = self._loose(frame.call, "output", tensors)
        if not loose or not self.goes_on:
            return
        drawn = np.random.default_rng(0)
        sources = [
            (tensor, drawn.standard_normal(tensor.shape).astype(frame.call.outputs[index].dtype))
            for index, tensor in loose.items()
        ]
        parameters = self.framework.parameters(frame.module)
        wrt = [leaf for leaf, _ in frame.reached] + list(parameters.values())
        found = self.framework.vjp(sources, wrt)
        for (_, seen), gradient in zip(frame.reached, found, strict=False):
            if gradient is not None and self.framework.values(gradient).any():
                cause = Cause("gradient_through_constant")
                self.visit(replace(seen, expected=None, found=gradient, cause=cause))
        self._add_gradients(frame, parameters, found[len(frame.reached) :])

    def _compare(
        self,
        code: RunningCall,
        culprit: str,
        call: Call,
        where: str,
        expected: Sequence[np.ndarray],
        tensors: Sequence[Any],
    ) -> None:
        if len(expected) != len(tensors):
            at = f"{where}:{min(len(expected), len(tensors))}"
            counts = (len(tensors), len(expected))
            self.visit(Seen(culprit, code.call, call, at, counts=counts))
        for index, (array, tensor) in enumerate(zip(expected, tensors, strict=False)):
            at, beside = f"{where}:{index}", (expected, tensors)
            self.visit(Seen(culprit, code.call, call, at, array, tensor, beside=beside))

    def _numbers_apart(self, recorded: Sequence[Any], tree: Any) -> Any:
        """Return `tree` with a `_Number` for each tensor that is a number in the reference.

        These are the integers of one value, where there are as many as tensors too many.
        """
        tensors = [leaf for leaf in leaves(tree) if self.framework.is_tensor(leaf)]
        if len(tensors) <= len(recorded):
            return tree
        values = {id(tensor): self.framework.whole_number(tensor) for tensor in tensors}
        if sum(values[id(tensor)] is not None for tensor in tensors) + len(recorded) != len(
            tensors
        ):
            return tree
        return map_leaves(
            tree,
            lambda leaf: leaf if (value := values.get(id(leaf))) is None else _Number(leaf, value),
        )

    def _compare_numbers(self, parent: RunningCall, call: Call, found: list[Any]) -> None:
        plain = [leaf.value if isinstance(leaf, _Number) else leaf for leaf in found]
        numbers = [leaf for leaf in plain if isinstance(leaf, (bool, int, float))]
        if len(numbers) == len(call.numbers) and numbers != call.numbers:
            expected, ours = np.array(call.numbers, float), np.array(numbers, float)
            self.visit(Seen(parent.path, parent.call, call, "input:number", expected, ours))

    def _fresh(
        self, recorded: Sequence[np.ndarray], tensors: list[Any], constant: set[int]
    ) -> list[Any] | None:
        """Return leaves with the recorded values; None where the numbers of tensors differ.

        `constant` are those to which no gradient is to flow.
        """
        if len(tensors) != len(recorded):
            return None
        pairs = enumerate(zip(recorded, tensors, strict=True))
        return [self.framework.leaf(array, like, i in constant) for i, (array, like) in pairs]

    def _handed(
        self,
        frame: RunningCall | None,
        call: Call,
        where: str,
        fresh: list[Any] | None,
        tree: Any,
        order: Sequence[int] | None,
    ) -> Any:
        """Return `tree` with what the code of `frame` gets in place of each fresh leaf.

        `order` is what `picked` the tensors of `tree` for which they stand.
        """
        if fresh is None:
            return tree
        visited = range(len(fresh)) if order is None else sorted(order)
        places = {at: index for index, at in enumerate(visited if order is None else order)}
        queue = iter([(places[at], fresh[places[at]]) for at in visited])

        def replace(value: Any) -> Any:
            if not self.framework.is_tensor(value):
                return value
            index, leaf = next(queue)
            handed = self.framework.handed(leaf, f"{where}:{index}" in call.written)
            if frame is not None and self.backward:
                version = self.framework.version(handed)
                frame.handed[id(handed)] = HandedTensor(weakref.ref(handed), version, leaf)
            return handed

        return map_leaves(tree, replace)


def output_order(call: Call, outputs: Any, is_tensor: Callable[[Any], bool]) -> list[int] | None:
    """Return which of the tensors of `outputs` each one is that `call` returned."""
    return order_like(call.template, outputs, lambda leaf: leaf is TENSOR, is_tensor)


def input_order(
    call: Call, values: list[Any], is_tensor: Callable[[Any], bool]
) -> list[int] | None:
    """Return which of the tensors of `values`, the arguments in order, each input of `call` is."""
    if call.arguments is None or call.attention is not None:
        return None
    args, kwargs = call.arguments
    if not (holds_names(values) or holds_names([*args, *kwargs.values()])):
        return None
    held = [(_slots(tree), tree) for tree in (*args, *kwargs.values())]
    trees = [tree for slots, tree in sorted((h for h in held if h[0]), key=lambda h: h[0][0])]
    return order_like(trees, values, lambda leaf: isinstance(leaf, Slot), is_tensor)


def _slots(tree: Any) -> list[int]:
    return [leaf.index for leaf in leaves(tree) if isinstance(leaf, Slot)]


def _back(tree: Any) -> Any:
    """Return `tree` with the tensors of its `_Number`s."""
    return map_leaves(tree, lambda leaf: leaf.tensor if isinstance(leaf, _Number) else leaf)


def _numbers(call: Call, where: str) -> set[int]:
    """Return the indices of the constant tensors among the inputs or the outputs of `call`."""
    return {int(at.name) for at in map(Where.of, call.constant) if at.kind == where}


def _at(gradients: Sequence[Cotangent], index: int) -> Cotangent:
    return gradients[index] if index < len(gradients) else None


def _sum(one: np.ndarray | HandedOn | None, other: np.ndarray | HandedOn) -> np.ndarray | HandedOn:
    if one is None:
        return other
    if isinstance(one, HandedOn) or isinstance(other, HandedOn):
        raise NeedsWholeRun
    return np.asarray(one + other)  # of two scalars it is a number
