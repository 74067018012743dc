"""Describes the state dict of a Paddle net, or of a part of one."""

from collections.abc import Iterator, Mapping
from typing import Any

from paddle import LazyGuard, nn

import paddle_impl
from convert.spec import BARE, BATCH_NORM, INPLACE_ABN, TensorSpec
from paddle_impl.layers import InPlaceABN

# `paddle.nn.BatchNorm` of Paddle 1.x is a class beside the others. `paddle.compat.nn.Linear` is
# no `nn.Linear`: its weight has torch's layout, so it stays a bare parameter.
_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((InPlaceABN,), INPLACE_ABN),
    (
        (nn.BatchNorm, nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm),
        BATCH_NORM,
    ),
    ((nn.Linear,), "Linear"),
    ((nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose), "ConvTranspose"),
    ((nn.Conv1D, nn.Conv2D, nn.Conv3D), "Conv"),
    ((nn.Embedding,), "Embedding"),
    ((nn.PReLU,), "PReLU"),
    ((nn.InstanceNorm1D, nn.InstanceNorm2D, nn.InstanceNorm3D), "InstanceNorm"),
    ((nn.LayerNorm,), "LayerNorm"),
    ((nn.GroupNorm,), "GroupNorm"),
)

# Names of Paddle's that are not torch's: {kind: {leaf: role}}.
_ROLES: dict[str, dict[str, str]] = {
    BATCH_NORM: {"_mean": "running_mean", "_variance": "running_var"},
    INPLACE_ABN: {"_mean": "running_mean", "_variance": "running_var"},
    "PReLU": {"_weight": "weight"},
    "InstanceNorm": {"scale": "weight"},
}


def kind_of(layer: nn.Layer) -> str:
    """Return the kind of `layer`, decided by its class and never by its name or shapes."""
    return next((kind for classes, kind in _KINDS if isinstance(layer, classes)), BARE)


def describe(net: nn.Layer) -> list[TensorSpec]:
    """List the tensors of `net.state_dict()` in its order; values are never read.

    BatchNorm statistics are among them (Paddle counts them as parameters).
    """
    layers = dict(_walk(net, ""))
    specs = []
    for key, tensor in net.state_dict().items():
        path, _, leaf = key.rpartition(".")
        kind = kind_of(layers[path]) if path in layers else BARE
        role = _ROLES.get(kind, {}).get(leaf, leaf)
        dtype = str(tensor.dtype).removeprefix("paddle.")
        specs.append(TensorSpec(key, tuple(tensor.shape), dtype, kind, role))
    return specs


def describe_row(row: str, options: Mapping[str, Any]) -> list[TensorSpec]:
    """List the tensors of the port of row `row` without initialising it."""
    with LazyGuard():
        return describe(paddle_impl.build_model(row, **options))


def _walk(layer: nn.Layer, path: str) -> Iterator[tuple[str, nn.Layer]]:
    """Yield every layer under each of its paths (Paddle's own walks name a shared one once)."""
    yield path, layer
    for name, child in layer._sub_layers.items():
        if child is not None:
            yield from _walk(child, f"{path}.{name}" if path else name)
