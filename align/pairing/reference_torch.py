"""A live net of torch, as the port's side asks about it."""
# ruff: noqa: D102 - what methods return stands in `align.pairing.reference`

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from align.arrays.arrays_torch import is_tensor, to_array
from align.nets.calls import code_of, source_of
from align.nets.layers_torch import module_paths, tables_of
from align.nets.whole_torch import NetWithLoss
from align.pairing import attributes_torch
from align.pairing.attributes import is_own, is_plain
from align.pairing.layouts.measure_torch import measured
from align.pairing.layouts.products import IN_OUT, OUT_IN
from common.errors import UserError
from common.nets import members
from convert.names.spec import BARE, LINEAR, TensorSpec
from convert.names.spec import IN_OUT as IN_OUT_KIND
from convert.nets.describe_torch import describe


class LiveReference:
    """See `align.pairing.reference.Reference`; everything is read when it is asked for.

    `net` is the net itself, for what runs it. Raises UserError where its code cannot be followed.
    """

    def __init__(self, net: nn.Module) -> None:
        _check(net)
        self.net = net

    @cached_property
    def paths(self) -> dict[str, list[str]]:
        return module_paths(self.net)

    @property
    def is_whole(self) -> bool:
        return isinstance(self.net, NetWithLoss)

    def specs(self) -> list[TensorSpec]:
        return [self._measured(spec) for spec in describe(self.net)]

    def _measured(self, spec: TensorSpec) -> TensorSpec:
        """Return a square matrix of an unknown class with the kind that its products show."""
        square = len(spec.shape) == 2 and spec.shape[0] == spec.shape[1]
        if not square or spec.kind != BARE or spec.layer not in self._modules:
            return spec
        kind = {IN_OUT: IN_OUT_KIND, OUT_IN: LINEAR}.get(
            measured(self._module(spec.layer), spec.role) or "", spec.kind
        )
        return replace(spec, kind=kind)

    def arrays(self) -> Mapping[str, np.ndarray]:
        state = self.net.state_dict()
        return {key: to_array(value) for key, value in state.items() if is_tensor(value)}

    def identities(self) -> Mapping[str, int]:
        state: Mapping[str, Any] = self.net.state_dict(keep_vars=True)
        return {key: id(tensor) for key, tensor in state.items()}

    def frozen(self) -> Mapping[str, bool]:
        named = members.named_parameters(self.net, remove_duplicate=False)
        return {name: not parameter.requires_grad for name, parameter in named}

    @cached_property
    def _modules(self) -> dict[str, nn.Module]:
        return dict(members.named_modules(self.net, remove_duplicate=False))

    def _module(self, path: str) -> nn.Module:
        return self._modules[path]

    def class_name(self, path: str) -> str:
        return type(self._module(path)).__name__

    def source(self, path: str) -> str:
        return source_of(self._module(path))

    def code(self, path: str) -> str:
        return code_of(self._module(path))

    def attributes(self, path: str) -> dict[str, Any]:
        return attributes_torch.attributes(self._module(path))

    def is_in_mode(self, path: str) -> bool:
        return self._module(path).training == self.net.training

    def settings(self, path: str) -> Mapping[str, Any]:
        module = self._module(path)
        row = is_own(type(module), "torch")
        return {name: value for name, value in vars(module).items() if is_plain(value, row)}

    def tables(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        found: dict[str, dict[str, np.ndarray]] = {}
        for path, name, tensor in tables_of(self.net):
            found.setdefault(path, {})[name] = to_array(tensor)
        return found

    def momentum(self, path: str) -> Any:
        return getattr(self._module(path), "momentum", None)


def _held(module: nn.Module) -> list[torch.Tensor]:
    held = (*module._parameters.values(), *module._buffers.values())
    return [tensor for tensor in held if tensor is not None]


def _check(net: nn.Module) -> None:
    """Raise UserError where parts of a net cannot be judged as they are, and say what to do."""
    for path, module in members.named_modules(net):
        at = f"the reference's {path or 'root'} ({type(module).__name__})"
        if isinstance(module, torch.jit.ScriptModule):
            raise UserError(
                f"{at} is TorchScript, whose calls nobody can watch: "
                "build the net from its Python classes"
            )
        if hasattr(module, "_orig_mod"):
            raise UserError(
                f"{at} is compiled by torch.compile, whose calls nobody can watch: "
                "give the module that was compiled"
            )
        if any(tensor.is_meta for tensor in _held(module)):
            raise UserError(
                f"{at} is on the meta device and holds no values: build the net without "
                "torch.device('meta'), or load its weights with assign=True"
            )
        lazy: Any = module if isinstance(module, LazyModuleMixin) else None
        if lazy is not None and lazy.has_uninitialized_params():
            raise UserError(
                f"{at} has no weights yet: run the net once on an input before it is compared"
            )
