"""Describes the state dict of a torch net, or of a part of one."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

import torch_ref
from common.nets import members
from common.pairs import get_pair
from convert.names.rules import resolve, shipped_rules
from convert.names.spec import BARE, BATCH_NORM, COUNTER, INPLACE_ABN, TRANSPOSED, TensorSpec
from torch_ref.layers import InPlaceABN

_KINDS: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((InPlaceABN,), INPLACE_ABN),
    ((nn.modules.batchnorm._BatchNorm,), BATCH_NORM),
    ((nn.Linear,), "Linear"),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), "ConvTranspose"),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), "Conv"),
    ((nn.Embedding,), "Embedding"),
    ((nn.PReLU,), "PReLU"),
    ((nn.modules.instancenorm._InstanceNorm,), "InstanceNorm"),
    ((nn.LayerNorm,), "LayerNorm"),
    ((nn.GroupNorm,), "GroupNorm"),
)


def kind_of(layer: nn.Module) -> str:
    """Return the kind of `layer`, decided by its class and never by its name or shapes."""
    return next((kind for classes, kind in _KINDS if isinstance(layer, classes)), BARE)


def describe(net: nn.Module) -> list[TensorSpec]:
    """List the tensors of `net.state_dict()` in its order; a shared tensor under each name."""
    layers = dict(members.named_modules(net, remove_duplicate=False))
    specs = []
    for key, tensor in net.state_dict().items():
        if not hasattr(tensor, "shape"):  # extra state
            continue
        path, _, leaf = key.rpartition(".")
        dtype = str(tensor.dtype).removeprefix("torch.")
        kind = kind_of(layers[path]) if path in layers else BARE
        specs.append(TensorSpec(key, tuple(tensor.shape), dtype, kind, leaf))
    return specs


# Paddle's names of what torch calls otherwise: {kind: {role: leaf}}.
_LEAVES: dict[str, dict[str, str]] = {
    BATCH_NORM: {"running_mean": "_mean", "running_var": "_variance"},
    INPLACE_ABN: {"running_mean": "_mean", "running_var": "_variance"},
    "PReLU": {"weight": "_weight"},
    "InstanceNorm": {"weight": "scale"},
}


def describe_port(row: str, options: Mapping[str, Any]) -> list[TensorSpec]:
    """List the tensors of the port of row `row` without Paddle, from its twin's kinds of layer."""
    pair = get_pair(row)
    with torch.device("meta"):
        net = torch_ref.build_model(row, **dict(options))
    names = resolve((spec.key for spec in describe(net)), shipped_rules(pair.rules)).sources
    specs = []
    for spec in describe(net):
        if spec.role == COUNTER or names.get(spec.key) != spec.key:  # a second name
            continue
        leaf = _LEAVES.get(spec.kind, {}).get(spec.role, spec.role)
        shape = spec.shape[::-1] if (spec.kind, spec.role) in TRANSPOSED else spec.shape
        flat = spec.kind == "LayerNorm"
        shape = (math.prod(shape),) if flat else shape
        key = f"{spec.layer}.{leaf}" if spec.layer else leaf
        torch_shape = spec.shape if flat else None
        specs.append(
            TensorSpec(key, shape, spec.dtype, spec.kind, spec.role, torch_shape=torch_shape)
        )
    return specs
