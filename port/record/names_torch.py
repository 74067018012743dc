"""Which torch function, method or class an object is, by its canonical dotted names."""

import functools
import importlib
import inspect
import sys
import warnings
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from port.record.attribute import attribute

# Where torch's names are looked for; the first that holds an object names it.
_HOMES = (
    "torch.nn",
    "torch.nn.functional",
    "torch.nn.init",
    "torch",
    "torch.linalg",
    "torch.fft",
    "torch.special",
    "torch.utils.checkpoint",
    "torch.autograd",
    "torch.cuda.amp",
    "torch.cuda",
    "torch.amp",
    "torch.jit",
    "torch.hub",
    "torch.nn.utils",
    "torch.nn.parameter",
    "torch.nn.parallel",
    "torch.nn.modules.batchnorm",
    "torch.nn.modules.utils",
    "torch.nn.utils.parametrizations",
    "torch.backends.cudnn",
    "torch.distributed",
    "torch.utils.model_zoo",
    "torch._utils",
    "torch.fx",
    "torch.utils.data",
    "torch._C",
)


# What pybind's functions hold as theirs.
_CAPSULES = ("PyCapsule", "pybind11_detail_function_record")


@functools.cache
def _table() -> dict[int, list[str]]:
    with warnings.catch_warnings():  # some names of torch warn when they are looked at
        warnings.simplefilter("ignore")
        return _made_table()


def _made_table() -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for home in _HOMES:
        try:
            module = importlib.import_module(home)
        except ImportError:
            continue
        for name, value in vars(module).items():
            if not name.startswith("__") and _may_be_torchs(value):
                found.setdefault(id(value), []).append(f"{home}.{name}")
    return found


def _may_be_torchs(value: Any) -> bool:
    """Tell whether what a module of torch holds is of torch, and not imported there."""
    if isinstance(value, torch.dtype | torch.layout):
        return True
    module = getattr(value, "__module__", None)
    known = module is None or str(module).partition(".")[0] == "torch"
    return callable(value) and known and not isinstance(value, ModuleType)


def names_of(value: Any) -> tuple[str, ...]:
    """Return the names of a class, function or dtype of torch, () of anything else."""
    if not _is_torchs(value):
        return ()
    found = _table().get(id(value), [])
    own = attribute(value, "__qualname__")
    module = attribute(value, "__module__")
    told = isinstance(own, str) and isinstance(module, str)  # what torch.fx traces has any name
    if told and own and module.startswith("torch") and "<locals>" not in own:
        full = f"{module}.{own}"
        found = found if full in found else [*found, *_as_a_method(value, module, own), full]
    return tuple(found)


def _as_a_method(value: Any, module: str, own: str) -> list[str]:
    """Return the names of `nn.Sequential.__init__` and the like by the short names of its class."""
    owner, _, method = own.rpartition(".")
    kind = attribute(sys.modules.get(module), owner) if owner.isidentifier() else None
    if not isinstance(kind, type) or vars(kind).get(method) is not value:
        return []
    return [f"{name}.{method}" for name in _table().get(id(kind), [])]


def _is_torchs(value: Any) -> bool:
    if isinstance(value, torch.dtype | torch.layout):
        return True
    if not callable(value):
        return False
    module = str(attribute(value, "__module__", ""))
    return id(value) in _table() or module.partition(".")[0] == "torch"


def torch_class_of(kind: type) -> type | None:
    """Return the class of torch that is nearest in the ancestors of a class."""
    return next((base for base in kind.__mro__ if _is_of_torch(base)), None)


def _is_of_torch(kind: type) -> bool:
    """Tell whether a class is one of torch's own, and none that it made for a weight as it ran."""
    made = kind.__module__ == "torch.nn.utils.parametrize" and issubclass(kind, nn.Module)
    return kind.__module__.startswith("torch.") and not (
        made and not hasattr(parametrize, kind.__name__)
    )


def who_is_called(function: Any) -> tuple[tuple[str, ...], Any, bool, bool]:
    """Return (names, receiver, by way of partial, a user's class with torch's constructor)."""
    if isinstance(function, functools.partial):
        names, receiver, _, built = who_is_called(function.func)
        return names, receiver, True, built
    if isinstance(function, nn.Module):
        return _called_module(function)
    if isinstance(function, type):
        return _called_class(function)
    owner = attribute(function, "__self__")
    name = attribute(function, "__name__", "")
    of_none = isinstance(owner, ModuleType) or type(owner).__name__.startswith(_CAPSULES)
    if owner is None or of_none:
        return names_of(function), None, False, False
    if isinstance(owner, torch.Tensor):
        return (f"torch.Tensor.{name}",), owner, False, False
    if isinstance(owner, torch.Size):
        return (f"torch.Size.{name}",), owner, False, False
    if isinstance(owner, nn.Module):
        return _bound(function, type(owner), name), owner, False, False
    if isinstance(owner, type):  # a class method; one that a user's class has from torch is its own
        if not names_of(owner):
            return (), None, False, False
        return _bound(function, owner, name), None, False, False
    if isinstance(owner, torch.autograd.function.FunctionCtx):  # Paddle's has its methods
        return (), None, False, False
    module = "" if isinstance(owner, str) else type(owner).__module__
    torchs = module.partition(".")[0] == "torch"
    names = (f"{module}.{type(owner).__qualname__}.{name}",) if torchs else ()
    return names or names_of(function), owner, False, False


def _called_module(module: nn.Module) -> tuple[tuple[str, ...], Any, bool, bool]:
    forward = _defining(type(module), "forward")
    if "forward" in vars(module) or forward is None or not forward.__module__.startswith("torch."):
        return (), module, False, False
    return tuple(f"{name}.__call__" for name in names_of(forward)), module, False, False


def _called_class(kind: type) -> tuple[tuple[str, ...], Any, bool, bool]:
    if names := names_of(kind):
        return names, None, False, False
    maker = _defining(kind, "__init__")
    if issubclass(kind, nn.Module) and maker is not None and names_of(maker):
        nearest = torch_class_of(kind)
        if nearest is nn.Module:  # it takes no arguments, and is the user's own
            return (), None, False, False
        return names_of(nearest or maker), None, False, maker is not nn.Module
    return (), None, False, False


def _bound(function: Any, kind: type, name: str) -> tuple[str, ...]:
    """Return the names of a method by the class that defines it, then by the nearest of torch.

    Of a constructor by the nearest first: it is called as the class is.
    """
    nearest = torch_class_of(kind)
    first = [f"{one}.{name}" for one in names_of(nearest)] if nearest else []
    plain = getattr(function, "__func__", function)
    for base in kind.__mro__:
        held = inspect.getattr_static(base, name, None) if name in vars(base) else None
        if held is not None and getattr(held, "__func__", held) is plain:
            own = [f"{one}.{name}" for one in names_of(base)]
            order = [*first, *own] if name == "__init__" else [*own, *first]
            return tuple(dict.fromkeys(order)) if own else ()
    return ()


def _defining(kind: type, name: str) -> type | None:
    return next((base for base in kind.__mro__ if name in vars(base)), None)
