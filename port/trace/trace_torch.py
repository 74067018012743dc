"""The graphs of the classes that ran through given lines."""

import inspect
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn

from port.trace.calls_torch import SeenRun, noted, owners
from port.trace.export_torch import HasRow, traced_call
from port.trace.graph import Place, TracedCall, TracedClass
from port.trace.trees_torch import PLAIN, leaves_of

_MOST = 256  # calls of one class; a class with more is refused, as nobody looked at the others


def traced_classes(
    net: nn.Module, run: Callable[[], None], places: Collection[Place], has_row: HasRow
) -> list[TracedClass]:
    """Return the graphs of every class whose forward reached one of `places` as `run` runs `net`.

    has_row: tells whether an operation can be spelled.
    """
    reached = owners(run, places)
    kinds = {kind for found in reached.values() for kind in found}
    with noted(net, kinds) as runs:
        run()
    found = []
    for kind in sorted(kinds, key=lambda one: (one.__module__, one.__qualname__)):
        calls = _calls([one for one in runs if type(one.module) is kind], has_row)
        places_of = {place for place, by in reached.items() if kind in by}
        found.append(
            TracedClass(kind.__module__, kind.__qualname__, _signature(kind), calls, places_of)
        )
    return found


def _calls(runs: list[SeenRun], has_row: HasRow) -> list[TracedCall]:
    """Return the graphs of the calls that may differ, of too many one without a graph."""
    distinct = _distinct(runs)
    if len(distinct) > _MOST:
        first = distinct[0]
        why = f"{len(distinct)} of its calls may differ, and at most {_MOST} are traced"
        return [TracedCall(first.path, first.training, {}, failed=why)]
    return [traced_call(one, has_row) for one in distinct]


def _distinct(runs: list[SeenRun]) -> list[SeenRun]:
    """Return the calls that may have graphs of their own: other instances, modes, ranks, words."""
    found: dict[Any, SeenRun] = {}
    for run in runs:
        leaves = leaves_of((run.args, run.kwargs), "")
        kinds = tuple((text, _kind(leaf)) for text, leaf in leaves)
        found.setdefault((run.path, run.training, kinds), run)
    return list(found.values())


def _kind(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.dim(), leaf.dtype
    return repr(leaf) if type(leaf) in PLAIN else type(leaf)


def _signature(kind: type) -> str:
    """Return the signature of a class's forward, without its annotations."""
    signature = inspect.signature(kind.forward)  # type: ignore[attr-defined]
    plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    return str(inspect.Signature(plain))
