"""Calls of a module's own submodules as single operations of its graph."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from common.nets import members
from port.trace.graph import TraceError
from port.trace.trees_torch import is_traced, leaves_of, mapped

OPERATION = "port_of_nets::call"
_kept: list[torch.library.Library] = []  # a definition lives as long as its library
_calls: list["ChildCall"] = []  # by the number that an operation has


@dataclass
class ChildCall:
    """One call of a submodule: its path, what it was given, what it gave."""

    path: str
    module: nn.Module
    forward: Callable[..., Any]
    given: tuple[Any, ...] = ()
    named: dict[str, Any] | None = None
    output: Any = None


class _Busy:
    """Whether a submodule is running, whose own submodules are then left alone."""

    now = False


def call_of(number: int) -> ChildCall:
    """Return the call that an operation of a graph stands for."""
    return _calls[number]


@contextmanager
def as_operations(net: nn.Module, writing: set[str]) -> Iterator[None]:
    """Let every submodule of `net` be one operation; writing: those that write into their input."""
    _define()
    changed = []
    for path, module in members.named_modules(net):
        if path:
            changed.append((module, module.__dict__.get("forward")))
            module.forward = _operation(path, module, module.forward, path in writing)
    try:
        yield
    finally:
        for module, before in changed:
            del module.forward
            if before is not None:
                module.forward = before


def _define() -> None:
    if _kept:
        return
    library = torch.library.Library(OPERATION.partition("::")[0], "DEF")
    library.define("call(Tensor[] given, SymInt[] sizes, int number) -> Tensor[]")
    torch.library.register_fake(OPERATION, _run, lib=library)
    library.impl("call", _run, "CompositeExplicitAutograd")
    _kept.append(library)


def _run(given: Sequence[Any], sizes: Sequence[Any], number: int) -> list[torch.Tensor]:
    """Run the submodule itself, on tensors without numbers."""
    call = _calls[number]
    tensors, numbers = iter(given), iter(sizes)

    def filled(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return next(tensors)
        return next(numbers) if isinstance(leaf, torch.SymInt) else leaf

    args, kwargs = mapped((call.given, call.named), filled)
    _Busy.now = True
    try:
        call.output = call.forward(*args, **kwargs)
    finally:
        _Busy.now = False
    found = [leaf for _, leaf in leaves_of(call.output, "") if isinstance(leaf, torch.Tensor)]
    return [one.clone() if any(one is x for x in given) else one for one in found]


def _operation(
    path: str, module: nn.Module, forward: Callable[..., Any], writes: bool
) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        if _Busy.now:
            return forward(*args, **kwargs)
        leaves = [leaf for _, leaf in leaves_of((args, kwargs), "") if is_traced(leaf)]
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        sizes = [leaf for leaf in leaves if isinstance(leaf, torch.SymInt)]
        _calls.append(ChildCall(path, module, forward, args, kwargs))
        given = torch.ops.port_of_nets.call(tensors, sizes, len(_calls) - 1)
        results = iter(given)

        def filled(leaf: Any) -> Any:
            if isinstance(leaf, torch.SymInt):
                raise TraceError(f"{path} gives a size")
            return next(results) if isinstance(leaf, torch.Tensor) else leaf

        output = mapped(_calls[-1].output, filled)
        return _written(path, tensors, output) if writes else output

    return called


def _written(path: str, tensors: Sequence[torch.Tensor], output: Any) -> torch.Tensor:
    """Write a submodule's output into its input, as the submodule itself does."""
    if not isinstance(output, torch.Tensor) or len(tensors) != 1:
        raise TraceError(f"{path} writes into one of several tensors")
    return tensors[0].copy_(output)
