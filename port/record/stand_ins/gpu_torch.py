"""A net that asks for a GPU by name, on a machine without one."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_TYPES = ("FloatTensor", "DoubleTensor", "LongTensor", "IntTensor", "BoolTensor", "ByteTensor")
_GPU = re.compile(r"cuda(:\d+)?")


@contextmanager
def on_the_cpu(named: bool = False) -> Iterator[None]:
    """Let `.cuda()` leave tensors and layers where they are, on a machine without a GPU.

    named: so do `device="cuda"`, `.to("cuda")` and `torch.cuda.FloatTensor`. Every function of
    torch is looked at then, which only nets that ask so are to pay for.
    """
    changed: list[tuple[Any, str, Any]] = []

    def change(owner: Any, name: str, value: Any) -> None:
        changed.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    if not torch.cuda.is_available():
        change(torch.Tensor, "cuda", _named("cuda", lambda tensor, *_, **__: tensor))
        change(nn.Module, "cuda", _named("cuda", lambda module, *_, **__: module))
    named = named and not torch.cuda.is_available()
    for name in _TYPES if named else ():
        change(torch.cuda, name, getattr(torch, name))
    try:
        if named:
            with _Here():
                yield
        else:
            yield
    finally:
        for owner, name, value in changed:
            setattr(owner, name, value)


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function under the name by which a recording calls it."""
    function.__name__ = name
    return function


class _Here(TorchFunctionMode):
    """Calls torch's functions with the CPU in the place of a GPU."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what torch returns."""
        given = {name: _here(value) for name, value in (kwargs or {}).items()}
        return func(*map(_here, args), **given)


def _here(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    if isinstance(value, str) and _GPU.fullmatch(value):
        return "cpu"
    if isinstance(value, str) and value.startswith("torch.cuda."):
        return value.replace(".cuda", "")
    return value
