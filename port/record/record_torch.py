"""Builds a net and runs it in eval and train mode, and returns what was recorded."""

import ast
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import resolve_name
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from port.record.attribute import attribute
from port.record.describe_torch import note_parameter
from port.record.facts import Binding, FileRecord, Record
from port.record.frozen_torch import frozen_norms
from port.record.hook_torch import Finder
from port.record.instrument import span_of
from port.record.modes_torch import classes_with_modes
from port.record.names_torch import names_of
from port.record.recorder_torch import Phase
from port.record.stand_ins.gpu_torch import on_the_cpu

Build = Callable[[], nn.Module]
Given = Sequence[Any] | Mapping[str, Any]  # arrays, as `forward` takes them


def record_net(
    build: Build,
    root: tuple[str, str],
    inputs: Sequence[Given],
    modes: Sequence[str],
    finder: Finder,
    phase: Phase,
) -> Record:
    """Return the recording of one net.

    build: makes the net; its modules are imported already. root: ("module", "callable").
    inputs: one or several sets of arrays, float64 or integers; the net runs each in each mode.
    modes: "eval" and "train". What raises in the constructor is raised here; what raises in a pass
    is noted in `failed`.
    """
    record = Record(finder.files, root, held=phase.writes.held)
    phase.at_work = True
    watch = nn.modules.module.register_module_forward_hook
    noting = nn.modules.module.register_module_parameter_registration_hook
    with on_the_cpu(), watch(phase.writes.after_forward), noting(note_parameter):
        torch.manual_seed(0)
        net = build()
        record.with_modes = classes_with_modes(net)
        for mode in modes:
            try:
                for given in inputs:
                    run(net, given, mode)
                record.modes.append(mode)
            except Exception as error:
                record.failed[mode] = f"{type(error).__name__}: {error}"
    phase.at_work = False
    record.frozen = frozen_norms(net)
    record.settings = finder.read.ends()
    for name, file in finder.files.items():
        if name in sys.modules:
            file.imported = True
            file.names = bindings(vars(sys.modules[name]), finder.files)
    for file in [one for one in finder.files.values() if not one.library]:
        file.made_up = _made_up(file, finder.files)
    return record


def run(net: nn.Module, given: Given, mode: str) -> None:
    """Run one pass on arrays by position or by keyword; in train mode with gradients."""
    net.train(mode == "train")
    with torch.set_grad_enabled(mode == "train"):
        if isinstance(given, Mapping):
            net(**{name: tensor_of(array) for name, array in given.items()})
        else:
            net(*(tensor_of(array) for array in given))


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """Return an array as the net gets it: numbers with a point in float32."""
    return torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array)


def leave_functions_alone() -> None:
    """From now on compilers of functions return them as they are: what is compiled is not seen."""

    def same(function: Any = None, *_: Any, **__: Any) -> Any:
        return function if function is not None else same

    for name in ("script", "script_method", "script_if_tracing"):
        known = getattr(torch.jit, name, None)
        if known is not None:
            same_here = _named(same, known)
            setattr(torch.jit, name, same_here)
    torch.compile = _named(same, torch.compile)


def _named(function: Any, like: Any) -> Any:
    def made(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    made.__name__, made.__qualname__, made.__module__ = like.__name__, like.__name__, "torch.jit"
    return made


def bindings(names: Mapping[str, Any], files: Mapping[str, Any]) -> dict[str, Binding]:
    """Return what the names of a module stand for, as far as they are torch's or the user's."""
    found = {}
    for name, value in names.items():
        if name.startswith("__") and name.endswith("__"):
            continue
        bound = _binding(value, files)
        if bound is not None:
            found[name] = bound
    return found


def _made_up(file: FileRecord, files: Mapping[str, Any]) -> dict[tuple[str, str], Binding]:
    """Return what code of a file that ran got of modules, some of which make up their names.

    Of `from package import name` inside a function, and of `package.name`.
    """
    asked: set[tuple[str, str]] = set()
    package = file.module if file.is_package else file.module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.path.read_bytes())):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body or span_of(body[0]) not in file.ran:
            continue
        for one in body:
            if isinstance(one, ast.ImportFrom):
                module = resolve_name("." * one.level + (one.module or ""), package)
                asked |= {(module, alias.name) for alias in one.names}
        for one in ast.walk(ast.Module(body, [])):
            if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
                owner = file.names.get(one.value.id)
                if owner is not None and owner.kind == "module":
                    asked.add((owner.value, one.attr))
    found = {
        (module, name): _binding(attribute(sys.modules.get(module), name), files)
        for module, name in asked
        if module in files
    }
    return {asked: bound for asked, bound in found.items() if bound is not None}


def _binding(value: Any, files: Mapping[str, Any]) -> Binding | None:
    if isinstance(value, ModuleType) and hasattr(value, "__name__"):
        return Binding("module", value.__name__)
    if names := names_of(value):
        return Binding("torch", names=names)
    module, name = attribute(value, "__module__"), attribute(value, "__qualname__")
    if isinstance(module, str) and isinstance(name, str) and module in files:
        return Binding("thing", f"{module}:{name}")
    return None
