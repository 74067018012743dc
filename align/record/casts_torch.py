"""Which casts to float32 in the code of a reference concern what it is given and has learnt."""

from typing import Any

import torch
from torch import nn

from align.arrays.arguments import Forward
from align.arrays.arrays_torch import is_tensor, to_array
from align.arrays.trees import map_leaves
from align.nets.calls import wrapped_forwards
from align.nets.casts.follow_torch import is_idle
from align.nets.casts.told import CastOf, cast_of, told_of_casts
from align.record.draws import CallKey
from align.record.trace import Trace


def leave_flowing_casts(net: nn.Module, trace: Trace, leaves: tuple[tuple, dict[str, Any]]) -> None:
    """Take from the calls of `trace`, recorded without gradients, the casts of constants alone.

    A table of sines that is cast says nothing: the net runs again, with gradients, from `leaves`,
    and a cast is kept through which one may flow. So are all where the net cannot run so.
    """
    flowing: dict[CallKey, list[CastOf]] = {}
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

    def told(flows: bool, line: str, tensor: torch.Tensor) -> None:
        if flows and stack:
            note_cast(flowing.setdefault(stack[-1], []), line, tensor)

    modules = {path: net.get_submodule(path) for path in trace.paths}
    try:
        with torch.enable_grad(), wrapped_forwards(modules, wrap), told_of_casts(told):
            args, kwargs = map_leaves(leaves, _own)
            net(*args, **kwargs)
    except RuntimeError:  # code that writes into what it learns may do so without gradients only
        return
    for call in trace.calls:
        call.cast_of = flowing.get(call.key, [])
        if call.key not in flowing:
            call.casts = ""


def note_cast(into: list[CastOf], line: str, tensor: torch.Tensor) -> None:
    """Append what a cast is of, but of a parameter, which is promoted where it is used."""
    if not tensor.is_leaf:
        with torch._C.DisableTorchFunction():
            into.append(cast_of(line, to_array(tensor), is_idle(tensor)))


def _own(leaf: Any) -> Any:
    """Return a tensor that code may write into, and that gradients flow from."""
    return leaf.clone() if is_tensor(leaf) else leaf
