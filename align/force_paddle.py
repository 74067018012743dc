"""Runs the port on the reference's recording: freely for the error that adds up, forced to judge.

In the forced pass every matched layer gets the reference's inputs and hands on the reference's
outputs, so that nothing spreads: what arrives at a layer judges the code of the module around
it (the glue), what a layer returns judges the layer.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import paddle
from paddle import nn

from align.arrays_paddle import is_tensor, to_array, to_tensor
from align.calls import Forward, all_paths, bind, wrapped_forwards
from align.judge import DIFFERS, Allowance, Comparison, compare
from align.pairing import Pairing
from align.prepare_paddle import FLOATING, state_kept
from align.trace import Call, Place, Trace
from align.trees import leaves, map_leaves

Allow = Callable[[Place], Allowance]


def layer_paths(net: nn.Layer) -> dict[str, list[str]]:
    """Return {first path: all paths} of the layers of `net`."""
    return all_paths(net, lambda layer: layer._sub_layers)


def layers_by_path(net: nn.Layer) -> dict[str, nn.Layer]:
    """Return {first path: layer} of the distinct layers of `net`, root "" first."""
    found: dict[str, nn.Layer] = {}
    for path in layer_paths(net):
        layer = net
        for name in path.split(".") if path else ():
            layer = layer._sub_layers[name]
        found[path] = layer
    return found


def holds_float32_constants(layer: nn.Layer) -> bool:
    """Tell whether `layer` is a normalisation whose kernel rounds epsilon to float32."""
    has_epsilon = hasattr(layer, "_epsilon") or hasattr(layer, "epsilon")
    return has_epsilon and not getattr(layer, "exact_constants", False)


class _Pass:
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
        self.counts: dict[int, int] = {}

    def run(self, args: tuple, kwargs: dict[str, Any]) -> None:
        matched = {path: self.layers[path] for path in self.pairing.port_group}
        with paddle.no_grad(), wrapped_forwards(matched, self.wrap):
            self.net(*args, **kwargs)

    def wrap(self, path: str, layer: nn.Layer, forward: Forward) -> Forward:
        raise NotImplementedError

    def next_call(self, path: str) -> Call | None:
        group = self.pairing.port_group[path]
        index = self.counts.get(group, 0)
        self.counts[group] = index + 1
        calls = self.calls.get(group, [])
        return calls[index] if index < len(calls) else None


class PlainPass(_Pass):
    """The port as its user runs it. Afterwards `errors` holds each output's cumulative error.

    Dropout layers keep what the reference's kept; all else is the port's own.
    """

    def __init__(self, net: nn.Layer, trace: Trace, pairing: Pairing) -> None:
        super().__init__(net, trace, pairing)
        self.errors: dict[Place, float] = {}

    def run(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Run it; the net's state is as before afterwards."""
        with state_kept(self.net):
            super().run(args, kwargs)

    def wrap(self, path: str, layer: nn.Layer, forward: Forward) -> Forward:
        """Note the distance of every output from the reference's."""

        def plain(*args: Any, **kwargs: Any) -> Any:
            call = self.next_call(path)
            if call is None:
                return forward(*args, **kwargs)
            outputs = with_mask(layer, call.mask, forward)(*args, **kwargs)
            found = [to_array(leaf) for leaf in leaves(outputs) if is_tensor(leaf)]
            for index, (ours, theirs) in enumerate(zip(found, call.outputs, strict=False)):
                self.errors[call.place(f"output:{index}")] = _distance(theirs, ours)
            return outputs

        return plain

    def uneven_groups(self) -> dict[int, tuple[int, int]]:
        """Return {group: (calls in the reference, calls in the port)} where these differ."""
        groups = set(self.pairing.port_group.values())
        counts = {g: (len(self.calls.get(g, [])), self.counts.get(g, 0)) for g in groups}
        return {group: pair for group, pair in counts.items() if pair[0] != pair[1]}


class ForcedPass(_Pass):
    """The port on the reference's tensors. `comparisons` holds every tensor, judged."""

    def __init__(
        self,
        net: nn.Layer,
        trace: Trace,
        pairing: Pairing,
        allow: Allow,
        judged: Callable[[Comparison, Place], None],
    ) -> None:
        super().__init__(net, trace, pairing)
        self.allow = allow
        self.judged = judged
        self.stack: list[tuple[str, Call]] = []
        holders = {above for path in pairing.port_group for above in _ancestors(path)[:-1]}
        self.leaves = set(pairing.port_group) - holders

    def wrap(self, path: str, layer: nn.Layer, forward: Forward) -> Forward:
        """Judge what arrives, hand on the reference's; judge what leaves, hand on likewise."""

        def forced(*args: Any, **kwargs: Any) -> Any:
            call = self.next_call(path)
            if call is None:  # uneven groups are taken apart before: only a net that varies
                raise RuntimeError(f"{path} was called more often than in the pass before")
            args, kwargs = self._arrive(path, call, forward, args, kwargs)
            self.stack.append((path, call))
            try:
                outputs = with_mask(layer, call.mask, forward)(*args, **kwargs)
            finally:
                self.stack.pop()
            self._judge(path, call, call, "output", call.outputs, leaves(outputs))
            return _replaced(call.outputs, outputs)

        return forced

    def _arrive(
        self, path: str, call: Call, forward: Forward, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        bound = bind(forward, args, kwargs)
        values = [args, kwargs] if bound is None else list(bound.arguments.values())
        if self.stack:  # what reaches the root is the batch itself
            around, around_call = self.stack[-1]
            found = leaves(values)
            self._judge(around, call, around_call, "input", call.inputs, found)
            self._judge_numbers(around, call, found)
        values = _replaced(call.inputs, values)
        if bound is None:
            return values[0], values[1]
        bound.arguments.update(zip(bound.arguments, values, strict=True))
        return bound.args, bound.kwargs

    def _judge(
        self,
        layer: str,
        call: Call,
        code: Call,
        where: str,
        expected: list[np.ndarray],
        found: list[Any],
    ) -> None:
        """Compare tensors seen at `call`; `code` is the call whose own code made them."""
        tensors = [to_array(leaf) for leaf in found if is_tensor(leaf)]
        kind = "layer" if where == "output" and layer in self.leaves else "glue"

        def comparison(index: int) -> Comparison:
            result = Comparison(layer, f"{call.path}#{call.index}", f"{where}:{index}", kind)
            result.kernels = sorted(code.kernels)
            return result

        if len(tensors) != len(expected):
            result = comparison(min(len(tensors), len(expected)))
            result.verdict, result.relative_error = DIFFERS, float("inf")
            result.cause = f"{len(tensors)} tensors, the reference has {len(expected)}"
            self.judged(result, call.place(result.where))
        for index, (reference, ours) in enumerate(zip(expected, tensors, strict=False)):
            place = call.place(f"{where}:{index}")
            allowance = self.allow(place)
            if code.random:
                allowance = Allowance(random=True)
            self.judged(compare(reference, ours, allowance, comparison(index)), place)

    def _judge_numbers(self, layer: str, call: Call, found: list[Any]) -> None:
        ours = [leaf for leaf in found if isinstance(leaf, (bool, int, float))]
        if len(ours) == len(call.numbers) and ours != call.numbers:
            result = Comparison(layer, f"{call.path}#{call.index}", "input:number", "glue")
            result.verdict, result.relative_error = DIFFERS, float("inf")
            result.cause = f"{ours}, the reference passes {call.numbers}"
            self.judged(result, call.place("input:number"))


def _ancestors(path: str) -> list[str]:
    """Return the paths of the root, of every layer on the way, and `path` itself."""
    parts = path.split(".") if path else []
    return [".".join(parts[:count]) for count in range(len(parts) + 1)]


def _replaced(recorded: list[np.ndarray], tree: Any) -> Any:
    """Return `tree` with its tensors replaced by `recorded`; as it is where the numbers differ."""
    tensors = [leaf for leaf in leaves(tree) if is_tensor(leaf)]
    if len(tensors) != len(recorded):
        return tree
    arrays = iter(recorded)
    return map_leaves(tree, lambda leaf: to_tensor(next(arrays)) if is_tensor(leaf) else leaf)


def _distance(reference: np.ndarray, port: np.ndarray) -> float:
    if reference.shape != port.shape:
        return float("inf")
    if reference.size == 0:
        return 0.0
    difference = np.abs(port.astype(np.float64) - reference.astype(np.float64)).max()
    return float(difference / (np.abs(reference.astype(np.float64)).max() or 1.0))


def with_mask(layer: nn.Layer, mask: np.ndarray | None, forward: Forward) -> Forward:
    """Return `forward`, or for a dropout layer the same with the reference's mask.

    The layer's own rate and mode still count: a wrong rate scales wrongly and is seen.
    """
    if mask is None or not isinstance(layer, (nn.Dropout, nn.Dropout2D, nn.Dropout3D)):
        return forward
    if not layer.training:
        return forward

    def dropout(input: paddle.Tensor) -> paddle.Tensor:
        kept = input * to_tensor(mask.astype(input.numpy().dtype))
        if getattr(layer, "mode", "upscale_in_train") == "upscale_in_train":
            kept = kept / (1.0 - layer.p)
        return kept

    return dropout


def floating_buffers(layers: Mapping[str, nn.Layer]) -> dict[str, np.ndarray]:
    """Return copies of what layers update outside the optimizer, as {"path.name": array}."""
    found = {}
    for path, layer in layers.items():
        for name, tensor in {**layer._parameters, **layer._buffers}.items():
            if tensor is not None and tensor.stop_gradient and tensor.dtype in FLOATING:
                found[f"{path}.{name}".lstrip(".")] = np.array(to_array(tensor))
    return found
