"""Describes the state dict of a Paddle net, or of a part of one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from paddle import LazyGuard, nn
from paddle.nn.layer import norm, rnn
from paddle.nn.utils.spectral_norm_hook import SpectralNorm
from paddle.nn.utils.weight_norm_hook import WeightNorm

import paddle_impl
from common.errors import UserError
from common.nets import members
from convert.names.spec import BARE, BATCH_NORM, INPLACE_ABN, Piece, SourcePlace, TensorSpec
from paddle_impl.layers import InPlaceABN

# `paddle.nn.BatchNorm` of Paddle 1.x is a class beside the others. `paddle.compat.nn.Linear` is
# no `nn.Linear`: its weight has torch's layout, so it stays a bare parameter.
_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((InPlaceABN,), INPLACE_ABN),
    ((nn.BatchNorm, norm._BatchNormBase), BATCH_NORM),
    ((nn.Linear,), "Linear"),
    ((nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose), "ConvTranspose"),
    ((nn.Conv1D, nn.Conv2D, nn.Conv3D), "Conv"),
    ((nn.Embedding,), "Embedding"),
    ((nn.PReLU,), "PReLU"),
    ((nn.InstanceNorm1D, nn.InstanceNorm2D, nn.InstanceNorm3D), "InstanceNorm"),
    ((nn.LayerNorm,), "LayerNorm"),
    ((nn.GroupNorm,), "GroupNorm"),
    ((nn.Bilinear,), "Bilinear"),
    ((rnn.RNNBase,), "RNN"),
    ((nn.LSTMCell, nn.GRUCell, nn.SimpleRNNCell), "RNNCell"),
)

# Names of Paddle's that are not torch's: {kind: {leaf: role}}.
_ROLES: dict[str, dict[str, str]] = {
    BATCH_NORM: {"_mean": "running_mean", "_variance": "running_var"},
    INPLACE_ABN: {"_mean": "running_mean", "_variance": "running_var"},
    "PReLU": {"_weight": "weight"},
    "InstanceNorm": {"scale": "weight"},
}
# What `torch.nn.utils.parametrizations` calls what both frameworks' older functions call `leaf`.
_PARAMETRIZED: dict[type, dict[str, str]] = {
    WeightNorm: {"_g": "original0", "_v": "original1"},
    SpectralNorm: {"_orig": "original", "_u": "0._u", "_v": "0._v"},
}
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True)
class _Layer:
    """A layer, its path in torch, and the layer around it with its path."""

    layer: nn.Layer
    torch_path: str
    around: nn.Layer | None


def kind_of(layer: nn.Layer) -> str:
    """Return the kind of `layer`, decided by its class and never by its name or shapes."""
    return next((kind for classes, kind in _KINDS if isinstance(layer, classes)), BARE)


def describe(net: nn.Layer) -> list[TensorSpec]:
    """List the tensors of `net.state_dict()` in its order; values are never read.

    BatchNorm statistics are among them (Paddle counts them as parameters). Raises UserError where
    a part of it was loaded by `paddle.jit.load`, which forgets their names.
    """
    _check(net)
    layers = dict(_walk(net, "", "", None))
    specs = []
    first: dict[int, str] = {}
    for key, tensor in net.state_dict().items():
        path, _, leaf = key.rpartition(".")
        held = layers.get(path)
        kind = kind_of(held.layer) if held else BARE
        role = _ROLES.get(kind, {}).get(leaf, leaf)
        dtype = str(tensor.dtype).removeprefix("paddle.")
        spec = TensorSpec(key, tuple(tensor.shape), dtype, kind, role)
        if id(tensor) in first:
            spec = replace(spec, tied_to=first[id(tensor)])
        first.setdefault(id(tensor), key)
        specs.append(_in_torch(spec, held, leaf, path) if held else spec)
    return specs


def _check(net: nn.Layer) -> None:
    for path, layer in members.named_modules(net):
        if type(layer).__module__.startswith("paddle.jit."):  # of two classes, by version
            at = f"the layer {path}" if path else "the net itself"
            raise UserError(
                f"{at} of the port was loaded by paddle.jit.load: what is in it has lost its names "
                "and cannot be watched; build it from its Python class and give it its weights "
                "with set_state_dict"
            )


def describe_row(row: str, options: Mapping[str, Any]) -> list[TensorSpec]:
    """List the tensors of the port of row `row` without initialising it."""
    with LazyGuard():
        return describe(paddle_impl.build_model(row, **options))


def _walk(
    layer: nn.Layer, path: str, torch_path: str, around: nn.Layer | None
) -> Iterator[tuple[str, _Layer]]:
    """Yield every layer under each of its paths (Paddle's own walks name a shared one once)."""
    yield path, _Layer(layer, torch_path, around)
    for name, child in layer._sub_layers.items():
        if child is None:
            continue
        theirs = name
        if name == "cross_attn" and isinstance(layer, nn.TransformerDecoderLayer):
            theirs = "multihead_attn"
        below = f"{path}.{name}" if path else name
        yield from _walk(child, below, _join(torch_path, theirs), layer)


def _in_torch(spec: TensorSpec, held: _Layer, leaf: str, path: str) -> TensorSpec:
    """Fill in where and in which shape torch holds the tensor."""
    if held.torch_path != path:
        spec = replace(spec, torch_path=held.torch_path)
    spec = _reparametrised(spec, held, leaf)
    if spec.kind == "LayerNorm":
        return replace(spec, torch_shape=tuple(held.layer._normalized_shape))
    if spec.kind == "Bilinear" and leaf == "bias":
        return replace(spec, torch_shape=spec.shape[1:])
    if spec.kind == "RNNCell" and leaf == "weight_ho":
        return replace(spec, elsewhere=_projection_of_lstm(held.torch_path))
    name = held.torch_path.rpartition(".")[2]
    if isinstance(held.around, nn.MultiHeadAttention) and name in _PROJECTIONS:
        attention = held.torch_path.rpartition(".")[0]
        packed = SourcePlace(
            _join(attention, f"in_proj_{leaf}"), Piece(_PROJECTIONS.index(name), 3)
        )
        separate = (SourcePlace(_join(attention, f"{name}_{leaf}")),) if leaf == "weight" else ()
        return replace(spec, elsewhere=(*separate, packed))
    return spec


def _reparametrised(spec: TensorSpec, held: _Layer, leaf: str) -> TensorSpec:
    """Look for weight norm (its g has torch's number of dimensions there) and spectral norm."""
    for hook in held.layer._forward_pre_hooks.values():
        ends = next((ends for of, ends in _PARAMETRIZED.items() if isinstance(hook, of)), {})
        end = leaf.removeprefix(getattr(hook, "name", leaf))
        if end not in ends:
            continue
        place = SourcePlace(_join(held.torch_path, f"parametrizations.{hook.name}.{ends[end]}"))
        spec = replace(spec, elsewhere=(place,))
        if isinstance(hook, WeightNorm) and end == "_g" and hook.dim != -1:
            dims = len(getattr(held.layer, f"{hook.name}_v").shape)
            axis = dims - 1 - hook.dim if spec.kind == "Linear" else hook.dim
            ones = [1] * dims
            ones[axis] = spec.shape[0]
            spec = replace(spec, torch_shape=tuple(ones))
    return spec


def _projection_of_lstm(cell: str) -> tuple[SourcePlace, ...]:
    """Return torch's name of the output projection of the cell at "lstm.0.cell_bw"."""
    place, _, name = cell.rpartition(".")
    path, _, number = place.rpartition(".")
    end = "_reverse" if name == "cell_bw" else ""
    return (SourcePlace(_join(path, f"weight_hr_l{number}{end}")),)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
