"""Replays one call of one layer of the port on the reference's inputs, with changed functions."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import paddle
from paddle.nn import functional

from align.arrays.arguments import Forward, bind
from align.arrays.arrays_paddle import is_tensor, to_array, to_tensor
from align.arrays.trees import leaves, map_leaves
from align.causes.held_functions_paddle import held_functions
from align.causes.hypotheses_paddle import (
    LayerSetting,
    Replacement,
    changes_of,
    layer_changes,
)
from align.causes.replayed import JudgedTensor, Replayed
from align.causes.step_recorder_paddle import PaddleRecorder, Patch, put_in_place, watched
from align.causes.steps import Handed, Instead, Steps, Value, named
from align.force.stock.cells_paddle import states_alone
from align.judge.words import Cause, Words
from align.nets.calls import wrapped_forwards
from align.nets.prepare_paddle import state_kept, state_of
from align.pairing.by_path import Pairing
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.pairing.tensors import ancestors
from align.record.trace import TENSOR

# Where functions live that code of nets calls by attribute.
HOMES: dict[str, Any] = {
    **dict.fromkeys(("concat", "matmul", "mean", "max", "sum", "norm", "roll", "median"), paddle),
    **dict.fromkeys(
        (
            *("interpolate", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool2d"),
            *("adaptive_avg_pool2d", "adaptive_max_pool2d", "softmax", "log_softmax"),
            *("cross_entropy", "gelu", "relu", "relu6", "leaky_relu", "silu", "elu", "sigmoid"),
            *("softplus", "mish", "swish", "hardswish", "tanh"),
            *("pad", "normalize", "layer_norm", "batch_norm", "dropout", "embedding"),
            "smooth_l1_loss",
        ),
        functional,
    ),
}
METHODS = ("mean", "max", "sum", "matmul")  # of tensors, too


class Replay:
    """Runs the layer at `path` as `call` ran in the reference.

    After a run `failure` is what the port raised, "" where nothing; `uneven` says which layers it
    calls another number of times than the reference.
    """

    def __init__(self, sides: Sides[Reference], path: str, call: Replayed, judged: Pairing) -> None:
        self.path, self.call, self.pairing, self.judged = path, call, sides.pairing, judged
        self.net, self.layers = sides.port, sides.layers
        self.state = state_of(self.net)  # which every run begins with and leaves
        self.layer = self.layers[path]
        self.held = held_functions(self.layer)
        self.failure = ""
        self.uneven: list[Cause] = []
        self.seen: list[tuple[str, dict[str, Any], int]] = []
        self.places: list[JudgedTensor] = []
        self.recorder: PaddleRecorder | None = None
        self.pairs: list[Handed] = []
        self.outside = 0  # layers that run code of their own

    def run(self, change: Replacement | LayerSetting | None = None) -> list[JudgedTensor]:
        """Return every tensor that arrives at a layer inside, and the outputs."""
        with paddle.no_grad():
            if isinstance(change, LayerSetting):
                return self._run(change.applied())
            return self._run(self._changed(change))

    def layer_changes(self) -> Iterator[tuple[Cause, LayerSetting]]:
        """Yield changes of the layer as a whole."""
        yield from layer_changes(self.layer)

    def recorded(
        self, gradients: bool, patches: Sequence[Patch] = ()
    ) -> tuple[Steps, list[Handed]]:
        """Return the steps of the port's code, and (place, reference's, port's) of each tensor.

        With `gradients` it is run so that these could flow; `patches` give steps other tensors.
        """
        self.recorder, self.pairs = PaddleRecorder(), []
        try:
            with paddle.set_grad_enabled(gradients):
                self._run(self._watched(self.recorder, patches))
            return self.recorder.found, self.pairs
        finally:
            self.recorder = None

    def patched(self, patches: Sequence[Patch]) -> list[JudgedTensor]:
        """Return what `run` does where steps are given other tensors."""
        with paddle.no_grad():
            return self._run(self._watched(PaddleRecorder(), patches))

    def _watched(
        self, recorder: PaddleRecorder, patches: Sequence[Patch]
    ) -> AbstractContextManager[None]:
        return watched(recorder, lambda: not self.outside, patches, self.held)

    @staticmethod
    def patches(steps: Steps, instead: Sequence[Instead]) -> list[Patch]:
        """Return what gives the steps that were recorded what stands in `instead`."""
        numbers = {id(step): number for number, step in enumerate(steps.steps)}
        return [
            Patch(numbers[id(each.step)], each.step.function, each.operand, each.array)
            for each in instead
        ]

    def _run(self, watching: AbstractContextManager[None]) -> list[JudgedTensor]:
        self.failure, self.places, self.seen = "", [], []
        queues: dict[int, list[Replayed]] = {}
        for child in self.call.children:
            queues.setdefault(self.pairing.reference_group[child.path], []).append(child)
        inside = {
            path: layer
            for path, layer in self.layers.items()
            if path in self.pairing.port_group and layer is not self.layer
        }
        called: dict[int, int] = {}
        expected: dict[int, int] = {group: len(calls) for group, calls in queues.items()}
        for path in self.call.called:
            group = self.pairing.reference_group[path]
            expected[group] = expected.get(group, 0) + 1

        def wrap(path: str, layer: Any, forward: Forward) -> Forward:
            return lambda *args, **kwargs: self._child(path, forward, args, kwargs, queues, called)

        args, kwargs = map_leaves((self.call.args, dict(self.call.kwargs)), _to_paddle)
        self._give("input", (args, kwargs), self.call.given)
        wrapped = wrapped_forwards(inside, states_alone(wrap))
        with state_kept(self.net, self.state), wrapped, watching:
            try:
                outputs = self.layer(*args, **kwargs)
                self.outside += 1
                self._note("output", self.call.outputs, outputs)
                self._pair("output", self.call.returned, outputs)
            except Exception as error:  # what the port's own code raises is not ours to name
                self.failure = f"{type(error).__name__}: {error}"
            finally:
                self.outside = 0
        self.uneven = list(self._uneven(expected, called))
        return self.places

    def _child(
        self, path: str, forward: Forward, args: Any, kwargs: Any, queues: Any, called: Any
    ) -> Any:
        group = self.pairing.port_group[path]
        index = called.get(group, 0)
        called[group] = index + 1
        if path not in self.judged.port_group:
            return forward(*args, **kwargs)
        calls = queues.get(group, [])
        self.outside += 1
        try:
            if index >= len(calls):
                return forward(*args, **kwargs)
            bound = bind(forward, args, kwargs)
            values = (args, kwargs) if bound is None else list(bound.arguments.values())
            self._note("input_of", calls[index].inputs, values, path=path, call=index)
            self._pair("input_of", calls[index].arrived, values, path=path, call=index)
            outputs = iter(calls[index].outputs)
            handed = map_leaves(
                calls[index].template,
                lambda leaf: to_tensor(next(outputs)) if leaf is TENSOR else leaf,
            )
            self._give("output_of", handed, calls[index].passed, path=path)
            return handed
        finally:
            self.outside -= 1

    def _give(self, kind: str, tree: Any, values: list[Value], **name: Any) -> None:
        """Let gradients flow to the tensors of `tree` as to `values`, and take them down."""
        tensors = [leaf for leaf in leaves(tree) if is_tensor(leaf)]
        if self.recorder is None:
            return
        for index, (tensor, value) in enumerate(zip(tensors, values, strict=False)):
            tensor.stop_gradient = not value.flows
            self.recorder.name(named(kind, index if len(tensors) > 1 else None, **name), tensor)

    def _pair(self, kind: str, values: list[Value], tree: Any, **name: Any) -> None:
        """Note what is known of the reference's tensors and of those of `tree`."""
        tensors = [leaf for leaf in leaves(tree) if is_tensor(leaf)]
        if self.recorder is None:
            return
        for index, (tensor, value) in enumerate(zip(tensors, values, strict=False)):
            title = named(kind, index if len(tensors) > 1 else None, **name)
            self.pairs.append((title, value, self.recorder.value(tensor)))

    def _note(self, kind: str, expected: list[np.ndarray], tree: Any, **name: Any) -> None:
        found = [np.array(to_array(leaf)) for leaf in leaves(tree) if is_tensor(leaf)]
        for index, array in enumerate(expected):
            own = found[index] if index < len(found) else None
            title = named(kind, index if len(expected) > 1 else None, **name)
            self.places.append(JudgedTensor(title, array, own))

    def _uneven(self, expected: Any, called: Any) -> Iterator[Cause]:
        ports = {group: path for path, group in reversed(list(self.pairing.port_group.items()))}
        if self.failure:
            return
        alone: set[str] = set()  # paths of containers that are told: what they hold is not
        for group in dict.fromkeys([*expected, *called]):
            theirs, ours = expected.get(group, 0), called.get(group, 0)
            path = ports[group]
            if theirs != ours and not (theirs and ours):
                if alone.isdisjoint(ancestors(path)):
                    yield _never_called(path, self.pairing.partners[path], bool(theirs))
                alone.add(path)
            elif theirs != ours:
                yield Cause("called_unevenly", path=ports[group], port=ours, reference=theirs)

    def pool(self) -> dict[Words, np.ndarray]:
        """Return the other tensors of the call by name: inputs, outputs inside, own parameters."""
        many = len(self.call.inputs) > 1
        found = {
            named("input", index if many else None): array
            for index, array in enumerate(self.call.inputs)
        }
        for child in self.call.children:
            for index, array in enumerate(child.outputs):
                number = index if len(child.outputs) > 1 else None
                found.setdefault(named("output_of", number, path=child.path), array)
        for name, parameter in self.layer._parameters.items():
            if parameter is not None:
                found[Words("parameter", name=name)] = np.array(to_array(parameter))
        extra = {
            Words("sigmoid_of", what=n): 1 / (1 + np.exp(-a))
            for n, a in found.items()
            if a.dtype.kind == "f" and np.abs(a).max(initial=0) < 700
        }
        relus = {
            Words("relu_of", what=n): np.maximum(a, 0)
            for n, a in found.items()
            if a.dtype.kind == "f"
        }
        return {**found, **extra, **relus}

    # Hypotheses.

    def hypotheses(self) -> Iterator[tuple[Cause, Replacement]]:
        """Yield changes of the functions that the last run called, all calls or one of them."""
        seen = list(self.seen)
        counts: dict[str, int] = {}
        for name, _, index in seen:
            counts[name] = max(counts.get(name, 0), index + 1)
        for name in counts:
            first = next(arguments for n, arguments, _ in seen if n == name)
            for cause, make in changes_of(name, first):
                yield cause, (name, -1, make)
        for name, arguments, index in seen:
            if 1 < counts[name] <= 6:
                for cause, make in changes_of(name, arguments):
                    one = Cause("one_call", cause=cause, call=index + 1, count=counts[name])
                    yield one, (name, index, make)

    @contextmanager
    def _changed(self, change: Replacement | None) -> Iterator[None]:
        """Put spies in place of the functions of `HOMES`, one of them changed."""
        depth = [0]
        counts: dict[str, int] = {}
        with ExitStack() as stack:
            homes = dict(HOMES)
            if change is not None and change[0] not in homes:
                homes[change[0]] = functional if hasattr(functional, change[0]) else paddle
            for name, home in homes.items():
                if hasattr(home, name):
                    self._spy(stack, home, name, change, depth, counts)
            for name in METHODS:
                self._spy(stack, paddle.Tensor, name, change, depth, counts)
            yield

    def _spy(
        self, stack: ExitStack, home: Any, name: str, change: Any, depth: Any, counts: Any
    ) -> None:
        original = getattr(home, name)

        def spied(*args: Any, **kwargs: Any) -> Any:
            if depth[0]:  # what a function calls itself is not the net's code
                return original(*args, **kwargs)
            index = counts.get(name, 0)
            counts[name] = index + 1
            self.seen.append((name, _arguments(original, args, kwargs), index))
            depth[0] += 1
            try:
                if change is not None and change[0] == name and change[1] in (-1, index):
                    return change[2](original, args, kwargs)
                return original(*args, **kwargs)
            finally:
                depth[0] -= 1

        put_in_place(stack, (home, name), spied, self.held)


def _to_paddle(leaf: Any) -> Any:
    return to_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf


def _arguments(function: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)
    except (TypeError, ValueError):
        return {**{f"arg{i}": value for i, value in enumerate(args)}, **kwargs}


def _never_called(port: str, reference: str, by_port: bool) -> Cause:
    names = {"path": port.removeprefix("net."), "partner": reference.removeprefix("net.")}
    return Cause("not_called_here" if by_port else "called_alone", **names)
