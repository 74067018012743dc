"""What a graph does not tell by itself: regions without gradients, what a forward changes, and
functions with a backward of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from port.trace.graph import TraceError
from port.trace.trees_torch import PLAIN

_REGION = "wrap_with_set_grad_enabled"
_OF_TORCH = frozenset({"_parameters", "_buffers", "_modules", "forward"})


def detach_regions(module: torch.fx.GraphModule, without: bool = False) -> bool:
    """Detach what regions without gradients give, and return whether there are regions.

    torch's decompositions put the operations of a region among the others, and forget what it was.
    without: `module` is such a region itself. Raises TraceError for one with gradients in there.
    """
    nodes = [node for node in module.graph.nodes if node.op == "call_function"]
    regions = [node for node in nodes if getattr(node.target, "__name__", "") == _REGION]
    for node in regions:
        enabled, inside = node.args[0], getattr(module, node.args[1].target)
        if enabled and without:
            raise TraceError("it asks for gradients inside a region without them")
        detach_regions(inside, without or not enabled)
        if not enabled:
            _detach(inside)
    return bool(regions)


def _detach(region: torch.fx.GraphModule) -> None:
    output = next(node for node in region.graph.nodes if node.op == "output")
    with region.graph.inserting_before(output):
        output.args = (tuple(map(_detached, output.args[0])),)
    region.recompile()


def _detached(node: Any) -> Any:
    if not isinstance(node, torch.fx.Node) or not isinstance(node.meta.get("val"), torch.Tensor):
        return node
    made = node.graph.call_function(torch.ops.aten.detach.default, (node,))
    made.meta = dict(node.meta)
    return made


@contextmanager
def regions_refused() -> Iterator[None]:
    """Raise TraceError for autograd Functions, and for a lower precision on this processor.

    A graph holds a Function's forward alone. Regions of autocast that change nothing are left out:
    torch forgets the regions without gradients inside them.
    """

    def apply(*_: Any, **__: Any) -> None:
        raise TraceError("it calls an autograd Function, whose backward a graph does not hold")

    def enter(region: Any) -> None:
        if region._enabled and region.device == "cpu":
            raise TraceError("it computes under autocast")

    with (
        _replaced(torch.autograd.Function, "apply", apply),
        _replaced(torch.autocast, "__enter__", enter),
        _replaced(torch.autocast, "__exit__", lambda *_: None),
    ):
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner)[name]  # a class method that is bound to no class yet
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def changes_refused(module: nn.Module) -> Iterator[None]:
    """Raise TraceError where a module comes out with other attributes than it had, beside tensors.

    Such a change is no operation, and no line of the port would make it.
    """
    before = _held(module)
    yield
    after = _held(module)
    names = [k for k in {**before, **after} if before.get(k) != after.get(k)]
    if names:
        raise TraceError(f"it changes {', '.join(f'self.{name}' for name in names)}")


def _held(module: nn.Module) -> dict[str, Any]:
    return {k: _mark(v) for k, v in vars(module).items() if k not in _OF_TORCH}


def _mark(value: Any) -> Any:
    if type(value) in PLAIN:
        return type(value), value
    if isinstance(value, list | tuple):
        return type(value), [_mark(one) for one in value]
    if isinstance(value, dict):
        return type(value), [(_mark(key), _mark(one)) for key, one in value.items()]
    return id(value)
