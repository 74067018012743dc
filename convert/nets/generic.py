"""Conversion without a Paddle net (--generic): the layers are inferred from the file itself.

Only what names and shapes prove is taken: BatchNorm by its statistics, Linear by a matrix with a
bias of its rows' number, recurrent layers and packed attention by names that only they have. All
else with two readings is listed for the user, who decides in the rules file (`kinds`).
"""

import re
from collections.abc import Iterable, Mapping

from common.errors import ConversionError, UserError
from convert.formats.checkpoint import Checkpoint
from convert.names.rules import Rules, resolve
from convert.names.spec import (
    BARE,
    BATCH_NORM,
    COUNTER,
    KINDS,
    LINEAR,
    PADDLE,
    Piece,
    SourcePlace,
    TensorSpec,
)

_LEAVES = {"running_mean": "_mean", "running_var": "_variance"}
_RENAMED = {("InstanceNorm", "weight"): "scale", ("PReLU", "weight"): "_weight"}
_RECURRENT = re.compile(r"(weight|bias)_(ih|hh)(_l\d+(_reverse)?)?$")
_LISTED = 200  # tensors of an error
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")


def describe_without_net(checkpoint: Checkpoint, rules: Rules) -> list[TensorSpec]:
    """List the tensors that a Paddle net with the file's layers has.

    Raises ConversionError naming every tensor whose kind of layer is open, UserError for a file
    that is Paddle's already or a kind that does not exist.
    """
    if checkpoint.framework == PADDLE:
        raise UserError(f"{checkpoint.path}: has Paddle's layouts already; nothing to convert")
    names = resolve(checkpoint, rules)
    given = {spec.key: spec for spec in checkpoint.describe()}
    tensors = {name: given[key] for name, key in names.sources.items()}
    for name, (key, piece) in names.pieces.items():
        shape = piece.shape_of(given[key].shape)
        dtype = piece.dtype_of(given[key].dtype) or given[key].dtype
        tensors[name] = TensorSpec(name, shape or given[key].shape, dtype)
    layers: dict[str, dict[str, TensorSpec]] = {}
    for name, spec in tensors.items():
        path, _, leaf = name.rpartition(".")
        layers.setdefault(path, {})[leaf] = spec
    made: list[TensorSpec] = []
    undecided: list[str] = []
    conv1d = any(map(_is_in_out, layers.values()))
    for path, leaves in layers.items():
        made += _layer(path, leaves, rules, undecided, conv1d)
    if undecided:
        raise ConversionError(_report(undecided))
    return made


def _layer(
    path: str,
    leaves: Mapping[str, TensorSpec],
    rules: Rules,
    undecided: list[str],
    conv1d: bool,
) -> Iterable[TensorSpec]:
    """Yield the tensors of one layer; what is open goes to `undecided`.

    `conv1d`: the file has matrices [in, out], so that a square one may be either.
    """
    kind = None if conv1d and _is_square(leaves) else _kind(leaves)
    for leaf, spec in leaves.items():
        key = _join(path, leaf)
        own = rules.kind(key) or kind
        said = rules.transposed(key)
        if said is not None and len(spec.shape) == 2 and rules.kind(key) in (None, LINEAR):
            shape = spec.shape[::-1] if said else spec.shape
            yield _spec(path, leaf, spec, LINEAR if own is None else own, leaf, shape)
        elif own == BATCH_NORM:
            if leaf != COUNTER:
                yield _spec(path, _LEAVES.get(leaf, leaf), spec, own, leaf)
        elif _RECURRENT.match(leaf) and spec.shape:
            yield _spec(path, leaf, spec, "RNN", leaf)
        elif leaf in ("in_proj_weight", "in_proj_bias") and "out_proj" not in leaves:
            yield from _packed(path, leaf, spec)
        elif own is not None:
            yield _of_kind(path, leaf, spec, own)
        elif _is_bare(leaf, spec, leaves):
            yield _spec(path, leaf, spec, BARE, leaf)
        else:
            undecided.append(f"{key} {spec.shape}")


def _kind(leaves: Mapping[str, TensorSpec]) -> str | None:
    """Return what the names and shapes of a layer prove, None where they prove nothing."""
    weight, bias = leaves.get("weight"), leaves.get("bias")
    if {"running_mean", "running_var"} <= set(leaves):
        return BATCH_NORM
    alone = set(leaves) == {"weight", "bias"}
    if alone and weight and bias and len(weight.shape) == 2 and bias.shape == weight.shape[:1]:
        return "Linear"
    return None


def _is_in_out(leaves: Mapping[str, TensorSpec]) -> bool:
    """Return whether a layer's matrix has the bias of its columns, as GPT-2's Conv1D has it."""
    weight, bias = leaves.get("weight"), leaves.get("bias")
    if set(leaves) != {"weight", "bias"} or weight is None or bias is None:
        return False
    return len(weight.shape) == 2 and bias.shape == weight.shape[1:] != weight.shape[:1]


def _is_square(leaves: Mapping[str, TensorSpec]) -> bool:
    weight = leaves.get("weight")
    return weight is not None and len(weight.shape) == 2 and weight.shape[0] == weight.shape[1]


def _is_bare(leaf: str, spec: TensorSpec, leaves: Mapping[str, TensorSpec]) -> bool:
    """Return whether a tensor has one layout in both frameworks, whatever layer holds it."""
    if "float" not in spec.dtype:
        return True
    if leaf.startswith(("weight_", "original", "_")):  # weight norm, spectral norm
        return False
    if leaf == "bias":
        return len(spec.shape) == 1
    bias = leaves.get("bias")
    return len(spec.shape) > 2 and (leaf != "weight" or bias is None or len(bias.shape) == 1)


def _of_kind(path: str, leaf: str, spec: TensorSpec, kind: str) -> TensorSpec:
    if kind == "Linear" and len(spec.shape) == 2:
        return _spec(path, leaf, spec, kind, leaf, spec.shape[::-1])
    if kind == "LayerNorm" and len(spec.shape) > 1:
        count = 1
        for length in spec.shape:
            count *= length
        made = _spec(path, leaf, spec, kind, leaf, (count,))
        return TensorSpec(
            made.key, made.shape, made.dtype, kind, leaf, torch_shape=tuple(spec.shape)
        )
    return _spec(path, _RENAMED.get((kind, leaf), leaf), spec, kind, leaf)


def _packed(path: str, leaf: str, spec: TensorSpec) -> Iterable[TensorSpec]:
    """Yield query, key and value of torch's packed projections."""
    end = leaf.removeprefix("in_proj_")
    for index, name in enumerate(_PROJECTIONS):
        piece = Piece(index, 3)
        shape = piece.shape_of(spec.shape) or spec.shape
        place = SourcePlace(_join(path, leaf), piece)
        own = shape[::-1]
        yield TensorSpec(
            _join(path, f"{name}.{end}"), own, spec.dtype, "Linear", end, elsewhere=(place,)
        )


def _spec(
    path: str,
    leaf: str,
    spec: TensorSpec,
    kind: str,
    role: str,
    shape: tuple[int, ...] | None = None,
) -> TensorSpec:
    key = _join(path, leaf)
    return TensorSpec(key, spec.shape if shape is None else shape, spec.dtype, kind, role)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _report(undecided: list[str]) -> str:
    """Word what is open, as lines that can be pasted into a rules file."""
    lines = [
        f"  - {{match: '^{re.escape(name.partition(' (')[0])}$', kind: ...}}  # {name}"
        for name in undecided[:_LISTED]
    ]
    if len(undecided) > _LISTED:
        lines.append(f"  # and {len(undecided) - _LISTED} more, of which one `match` may be many")
    kinds = "; ".join(f"{kind} ({what})" for kind, what in KINDS.items())
    return (
        f"{len(undecided)} tensors can be of more than one kind of layer. Say which in a rules "
        f"file (--map): {kinds}\nkinds:\n" + "\n".join(lines)
    )
