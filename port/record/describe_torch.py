"""What is noted of a value: its kind, its rank and type, or itself where it is a constant."""

import functools
import types
import weakref
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from port.calls import KIND_OF, UNKNOWN
from port.record.facts import MODULE_OF_PYTHON, PARTIAL, Facts
from port.record.names_torch import names_of, torch_class_of

_LONGEST = 16  # of a list whose values are kept
_OF_LINEARS: dict[int, weakref.ref[torch.Tensor]] = {}  # their weights, by identity


def described(value: Any) -> Facts:
    """Return what is noted of `value`."""
    kind = type(value)
    if kind in KIND_OF:
        return Facts(KIND_OF[kind], value)
    if isinstance(value, torch.Tensor):
        known = Facts("tensor", UNKNOWN, value.dim(), dtype_name(value.dtype))
        of_linear = id(value) in _OF_LINEARS and _OF_LINEARS[id(value)]() is value
        return replace(known, part=_is_part(value), linked=_is_linked(value), of_linear=of_linear)
    if isinstance(value, torch.Size):
        return Facts("size", tuple(value), len(value), "int", single=len(value) == 1)
    if isinstance(value, list | tuple):
        facts = _described_list(value, "list" if isinstance(value, list) else "tuple")
        named = kind.__module__ == "torch.return_types"
        return replace(facts, names=(f"torch.return_types.{kind.__name__}",)) if named else facts
    if isinstance(value, torch.dtype):
        return Facts("dtype", dtype_name(value), names=names_of(value))
    if isinstance(value, torch.device):
        return Facts("device", str(value))
    if isinstance(value, type):
        return Facts("class", value.__qualname__, names=names_of(value))
    if isinstance(value, nn.Module):
        base = torch_class_of(type(value))
        return Facts("module", names=names_of(base) if base else ())
    if isinstance(value, slice | range):
        return Facts(type(value).__name__)
    if isinstance(value, types.ModuleType):
        return Facts("package" if value.__name__.partition(".")[0] == "torch" else MODULE_OF_PYTHON)
    if isinstance(value, types.GeneratorType):
        return Facts("generator")
    if isinstance(value, functools.partial):
        names = names_of(value.func)
        return Facts("partial", PARTIAL if names else "", names=names)
    if callable(value):
        return Facts("function", names=names_of(value))
    return Facts()


def note_parameter(module: nn.Module, name: str, parameter: torch.Tensor | None) -> None:
    """Keep which tensors are weights of Linears: a hook of all modules' `register_parameter`."""
    if isinstance(module, nn.Linear) and name == "weight" and parameter is not None:
        _OF_LINEARS[id(parameter)] = weakref.ref(parameter)


def _described_list(value: Any, kind: str) -> Facts:
    inside = [described(item) for item in value[:_LONGEST]]
    kinds = {item.kind for item in inside}
    constant = len(value) <= _LONGEST and all(item.value is not UNKNOWN for item in inside)
    held = tuple(item.value for item in inside) if constant else UNKNOWN
    dtype = kinds.pop() if len(kinds) == 1 else None
    shapes = {str(item.shape) for item in value if isinstance(item, torch.Tensor)}
    return Facts(kind, held, len(value), dtype, single=len(value) == 1, uneven=len(shapes) > 1)


def _is_part(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_contiguous()


def _is_linked(tensor: torch.Tensor) -> bool:
    return tensor._is_view() and tensor.requires_grad and torch.is_grad_enabled()


def dtype_name(dtype: torch.dtype) -> str:
    """Return "float32" of torch.float32."""
    return str(dtype).removeprefix("torch.")
