"""Which modules ran through given lines, and with what their instances are called."""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from common.nets import members
from port.trace.graph import Place
from port.trace.trees_torch import leaves_of, mapped

_CALLERS = frozenset({"_call_impl", "_wrapped_call_impl"})


@dataclass
class SeenRun:
    """One call of an instance, its tensors copied. writing: submodules that write into theirs."""

    path: str
    module: nn.Module
    training: bool
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    writing: set[str] = field(default_factory=set)


def owners(run: Callable[[], None], places: Collection[Place]) -> dict[Place, set[type]]:
    """Return the classes of the modules whose forward reached each place, as `run` runs the net.

    The owner is the innermost module whose call was under way.
    """
    found: dict[Place, set[type]] = {}
    files = {file for file, _ in places}

    def entered(frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code.co_filename not in files:
            return
        lines = [line for _, _, line in code.co_lines() if line]
        for place in places:
            if place[0] == code.co_filename and lines and min(lines) <= place[1] <= max(lines):
                owner = _owner(frame)
                if owner is not None:
                    found.setdefault(place, set()).add(type(owner))

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        run()
    finally:
        sys.settrace(before)
    return found


def _owner(frame: Any) -> nn.Module | None:
    while frame is not None and frame.f_back is not None:
        if frame.f_back.f_code.co_name in _CALLERS:
            module = frame.f_back.f_locals.get("self")
            return module if isinstance(module, nn.Module) else None
        frame = frame.f_back
    return None


@contextmanager
def noted(net: nn.Module, kinds: Collection[type]) -> Iterator[list[SeenRun]]:
    """Note the calls of all instances of `kinds` while the net runs."""
    runs: list[SeenRun] = []
    hooks = []
    for path, module in members.named_modules(net):
        if type(module) in kinds:
            hooks += _hooked(path, module, runs)
    try:
        yield runs
    finally:
        for hook in hooks:
            hook.remove()


def _hooked(path: str, module: nn.Module, runs: list[SeenRun]) -> list[Any]:
    def entered(_: nn.Module, args: Any, kwargs: Any) -> None:
        copied = mapped((args, kwargs), _copied)
        runs.append(SeenRun(path, module, module.training, *copied))

    hooks = [module.register_forward_pre_hook(entered, with_kwargs=True)]
    for name, child in members.named_modules(module):
        if name:
            hooks += _writes(name, child, path, runs)
    return hooks


def _writes(name: str, child: nn.Module, path: str, runs: list[SeenRun]) -> list[Any]:
    """Note where a submodule changes the version of a tensor that it gets."""
    before: list[list[tuple[Any, int]]] = []

    def entered(_: nn.Module, args: Any, kwargs: Any) -> None:
        leaves = [leaf for _, leaf in leaves_of((args, kwargs), "")]
        before.append([(one, one._version) for one in leaves if isinstance(one, torch.Tensor)])

    def left(*_: Any) -> None:
        if any(tensor._version != version for tensor, version in before.pop()):
            next(run for run in reversed(runs) if run.path == path).writing.add(name)

    return [
        child.register_forward_pre_hook(entered, with_kwargs=True),
        child.register_forward_hook(left),
    ]


def _copied(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, torch.Tensor) else leaf
