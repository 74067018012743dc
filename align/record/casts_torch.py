"""Which casts to float32 in the code of a reference concern what it is given and has learnt."""

from typing import Any

import torch
from torch import nn

from align.arrays.arguments import Forward
from align.arrays.arrays_torch import is_tensor
from align.arrays.trees import map_leaves
from align.nets.calls import wrapped_forwards
from align.nets.casts.told import told_of_casts
from align.record.draws import CallKey
from align.record.trace import Trace


def leave_flowing_casts(net: nn.Module, trace: Trace, leaves: tuple[tuple, dict[str, Any]]) -> None:
    """Take from the calls of `trace`, recorded without gradients, the casts of constants alone.

    A table of sines that is cast says nothing: the net runs again, with gradients, from `leaves`,
    and a cast is kept through which one may flow. So are all where the net cannot run so.
    """
    flowing: set[CallKey] = set()
    stack: list[CallKey] = []
    counts: dict[str, int] = {}

    def wrap(path: str, module: Any, forward: Forward) -> Forward:
        def counted(*args: Any, **kwargs: Any) -> Any:
            index = counts[path] = counts.get(path, -1) + 1
            stack.append((path, index))
            try:
                return forward(*args, **kwargs)
            finally:
                stack.pop()

        return counted

    def told(flows: bool, line: str) -> None:
        if flows and stack:
            flowing.add(stack[-1])

    modules = {path: net.get_submodule(path) for path in trace.paths}
    try:
        with torch.enable_grad(), wrapped_forwards(modules, wrap), told_of_casts(told):
            args, kwargs = map_leaves(leaves, _own)
            net(*args, **kwargs)
    except RuntimeError:  # code that writes into what it learns may do so without gradients only
        return
    for call in trace.calls:
        if call.key not in flowing:
            call.casts = ""


def _own(leaf: Any) -> Any:
    """Return a tensor that code may write into, and that gradients flow from."""
    return leaf.clone() if is_tensor(leaf) else leaf
