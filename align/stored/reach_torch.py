"""Which boundaries of modules a tensor reaches: does anybody use what a module returns?"""

from collections import defaultdict
from typing import Any

import torch
from torch import nn
from torch.utils.weak import TensorWeakRef

from align.arrays.arguments import Forward
from align.arrays.arrays_torch import is_tensor
from align.arrays.trees import leaves, map_leaves
from align.judge.where import Where
from align.nets.calls import wrapped_forwards
from align.nets.prepare_torch import out_of_place, state_kept
from align.record.recording_torch import ReferenceRun
from align.record.trace import Trace
from align.rounding.rounding_torch import disturbed_by

CallSide = tuple[int, str]  # (number of a call in the trace, "input" or "output")


def reached(net: nn.Module, trace: Trace, run: ReferenceRun) -> dict[CallSide, set[CallSide]]:
    """Return {boundary: the next boundaries that its tensors reach through code between}.

    By the graph of derivatives. Where that shows nothing of a module with parameters (code under
    `no_grad`, integers), its outputs are changed and what moves is taken.
    """
    graph = _Graph(trace)
    modules = {path: net.get_submodule(path) for path in trace.paths}
    wrapped = wrapped_forwards(modules, graph.wrap)
    in_place = out_of_place(net, trace.as_code)
    with state_kept(net), torch.enable_grad(), in_place, wrapped:
        net(*run.args, **run.kwargs)
    edges = graph.edges
    for path in dict.fromkeys(call.path for call in trace.calls):
        if not path or not any(name.startswith(f"{path}.") for name in trace.parameters):
            continue
        own = [number for number, call in enumerate(trace.calls) if call.path == path]
        if any(edges.get((number, "output")) for number in own):
            continue
        inside = {other for other in trace.paths if f"{other}.".startswith(f"{path}.")}
        moves = disturbed_by(net, trace, run, set(trace.paths) - inside, path)
        numbers = {(call.path, call.index): n for n, call in enumerate(trace.calls)}
        for (other, index, where), move in moves.items():
            side = Where.of(where).kind
            if move and side in ("input", "output"):
                for number in own:
                    edges[number, "output"].add((numbers[other, index], side))
    return edges


class _Frame:
    """One running call: the leaves that its code got, and what they stand for."""

    def __init__(self, number: int) -> None:
        self.number = number
        # By identity, which another tensor may have once the first is gone.
        self.nodes: dict[int, tuple[TensorWeakRef, CallSide]] = {}

    def stands_for(self, tensor: torch.Tensor, node: CallSide) -> None:
        self.nodes[id(tensor)] = TensorWeakRef(tensor), node

    def node_of(self, tensor: Any) -> CallSide | None:
        """Return what a tensor stands for, None where it is no leaf that the code got."""
        reference, node = self.nodes.get(id(tensor), (None, None))
        return node if reference is not None and reference() is tensor else None


class _Graph:
    def __init__(self, trace: Trace) -> None:
        self.edges: defaultdict[CallSide, set[CallSide]] = defaultdict(set)
        self.stack: list[_Frame] = []
        self.numbers = {(call.path, call.index): n for n, call in enumerate(trace.calls)}
        self.counts: dict[str, int] = {}

    def wrap(self, path: str, module: nn.Module, forward: Forward) -> Forward:
        def graphed(*args: Any, **kwargs: Any) -> Any:
            index = self.counts.get(path, 0)
            self.counts[path] = index + 1
            own = _Frame(self.numbers[path, index])
            around = self.stack[-1] if self.stack else None
            arrived, left = (own.number, "input"), (own.number, "output")
            self._arrive(around, (args, kwargs), arrived)
            args, kwargs = self._fresh(own, (args, kwargs), arrived)
            self.stack.append(own)
            try:
                outputs = forward(*args, **kwargs)
            finally:
                self.stack.pop()
            self._arrive(own, outputs, left)
            return outputs if around is None else self._fresh(around, outputs, left)

        return graphed

    def _arrive(self, frame: _Frame | None, tree: Any, at: CallSide) -> None:
        """Note which leaves of `frame` the tensors of `tree`, which arrive at `at`, came from."""
        if frame is None:
            return
        for tensor in filter(is_tensor, leaves(tree)):
            for node in _sources(tensor, frame):
                self.edges[node].add(at)

    def _fresh(self, frame: _Frame, tree: Any, node: CallSide) -> Any:
        """Return `tree` with fresh leaves, which stand for `node` in the code of `frame`."""

        def fresh(value: Any) -> Any:
            if not is_tensor(value):
                return value
            own = value.detach()
            if own.is_floating_point() or own.is_complex():
                leaf = own.requires_grad_()
                frame.stands_for(leaf, node)
                own = leaf.clone()  # code may write into it
            else:
                own = own.clone()
            frame.stands_for(own, node)
            return own

        return map_leaves(tree, fresh)


def _sources(tensor: torch.Tensor, frame: _Frame) -> set[CallSide]:
    """Walk the graph of `tensor` back to the leaves of `frame`."""
    own = frame.node_of(tensor)
    found = set() if own is None else {own}
    waiting, seen = [tensor.grad_fn], set()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = frame.node_of(getattr(node, "variable", None))
        if leaf is not None:
            found.add(leaf)
        waiting += [following for following, _ in node.next_functions]
    return found
