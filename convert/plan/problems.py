"""How a misfit between a file and a net is worded: what, where, expected, got, next step."""

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from types import MappingProxyType
from typing import TYPE_CHECKING

from common.errors import ConversionError
from convert.formats.recipes import for_names
from convert.formats.table import Format, written_for
from convert.names.prefixes import rules_hint
from convert.names.spec import BATCH_NORM, COUNTER, PADDLE, TensorSpec
from convert.plan.cast import group_of

if TYPE_CHECKING:
    from convert.plan.move import Move

SHOWN = 8
LACKED_BY_NET = (
    "The net lacks these layers (was one forgotten, or never made?), or the file is of another "
    "net; what is rightly left out, a rules file says under `drops` (docs/rules.md)"
)
LACKED_BY_FILE = (
    "The file lacks these layers: is it of another net, or of a part of it? What is rightly left "
    "as it is, a rules file says under `absent` (docs/rules.md)"
)
BIAS_OF_NET = (
    "The file has these layers without a bias: write bias_attr=False where torch has bias=False. "
    "What is rightly left as it is, a rules file says under `absent` (docs/rules.md)"
)
BIAS_OF_FILE = (
    "The net has these layers without a bias, the file with one: take bias_attr=False out. What is "
    "rightly left out, a rules file says under `drops` (docs/rules.md)"
)
FOLDED = (
    "BatchNorm is folded into the convolutions of this file: they have a bias, and nothing of the "
    "norms is left, which no conversion brings back. Convert the checkpoint that it was made from, "
    "or export again with torch.onnx.export(..., do_constant_folding=False) (elsewhere: before "
    "layers are fused)"
)
NO_COUNTERS = (
    f"the file holds no batch counter ({COUNTER}), so it does not tell whether its head norms are "
    'plain BatchNorm (head_norm="bn") or InPlaceABN (head_norm="inplace_abn"), whose weights mean '
    "different scales; save it again from the net, counters included"
)


def of_tensor(
    source: TensorSpec,
    move: "Move",
    classes_key: str | None,
    output: Format,
    cast: bool = False,
) -> list[str]:
    """Return what is wrong with a move: shape or dtype, else nothing.

    `output` is the format that the moved tensors are to be written in; `cast` tells that they have
    the net's dtypes there.
    """
    target = move.target
    found = _of_shape(source, move, classes_key)
    given = source.dtype if move.piece is None else move.piece.dtype_of(source.dtype)
    if given is None:
        return [f"{target.key}: {source.key} is {source.dtype}, of which the rules make two parts"]
    written = target.dtype if cast else given
    if group_of(given) != group_of(target.dtype):
        found.append(f"{target.key}: Paddle has {target.dtype}, file has {source.dtype}")
    elif written not in output.holds:
        of = "net" if cast else "file"
        words = f"{target.key}: {output.suffixes[0]} cannot hold the {of}'s dtype {written}"
        able = [row.suffixes[0] for row in written_for(PADDLE) if written in row.holds]
        found.append(words + (f"; --output with {' or '.join(able)} can" if able else ""))
    return found


def _of_shape(source: TensorSpec, move: "Move", classes_key: str | None) -> list[str]:
    target, shape = move.target, source.shape
    if move.piece is not None:
        piece = move.piece.shape_of(shape)
        if piece is None:
            return [f"{target.key}: {source.key} of shape {shape} has no {move.piece.count} pieces"]
        shape = piece
    moved = shape[::-1] if move.transposed else shape
    expected = target.shape if target.torch_shape is None else target.torch_shape
    if moved == expected or (move.change in ("copied", "renamed") and moved == target.shape):
        return []
    note = f", which is {moved} transposed" if move.transposed else ""
    note += f" (piece {move.piece.index + 1} of {source.key})" if move.piece else ""
    hint = _layout_hint(target, shape) or _classes_hint(target, moved, classes_key)
    theirs = f" ({expected} in torch)" if target.torch_shape is not None else ""
    return [f"{target.key}: Paddle has {target.shape}{theirs}, file has {shape}{note}{hint}"]


def counters_where_in_place(layers: Sequence[str]) -> str:
    """Word the error of a plain-BatchNorm file that meets a net with InPlaceABN heads."""
    return (
        f"{_some(layers)}: the file has a batch counter there, so it was trained with plain "
        "BatchNorm (scale = weight), but the net has InPlaceABN (scale = |weight| + eps); "
        'build the net with head_norm="bn"'
    )


def no_counters_where_plain(layers: Sequence[str]) -> str:
    """Word the error of an InPlaceABN file that meets a net with plain BatchNorm heads."""
    return (
        f"{_some(layers)}: the file has no batch counter there but has elsewhere, so it was "
        "trained with InPlaceABN (scale = |weight| + eps), but the net has plain BatchNorm (scale "
        '= weight); build the net with head_norm="inplace_abn"'
    )


def misfit(
    found: Sequence[str],
    missing: Sequence[TensorSpec],
    unknown: Sequence[TensorSpec],
    moves: Sequence["Move"] = (),
    file: Mapping[str, TensorSpec] = MappingProxyType({}),
) -> ConversionError:
    """Return the error of one conversion; its list is capped, its numbers are not.

    Args:
        found: sentences about tensors that were paired, by `moves` from `file`.
        missing: tensors of the Paddle net that nothing fills.
        unknown: tensors of the file that the net has no place for.
    """
    filled = {move.target.layer for move in moves}, {_layer(move.source) for move in moves}
    error = ConversionError(_report(found, missing, unknown, filled))
    error.names_differ = bool(missing and unknown) and not _is_folded(missing, unknown, filled)
    paired = [(move.target, file[move.source].shape, move) for move in moves if not move.piece]
    classes = {
        _other_classes(target, shape[::-1] if move.transposed else shape)
        for target, shape, move in paired
    } - {None}
    error.classes = classes.pop() if len(classes) == 1 else None
    return error


def _report(
    found: Sequence[str],
    missing: Sequence[TensorSpec],
    unknown: Sequence[TensorSpec],
    filled: tuple[set[str], set[str]],
) -> str:
    lines = list(found[:SHOWN])
    for spec in missing[:SHOWN]:
        nearest = _nearest(spec, unknown, "; nearest in the file")
        lines.append(f"{spec.key} {spec.shape}: nothing in the file fills it{nearest}")
    for spec in unknown[:SHOWN]:
        nearest = _nearest(spec, missing, "; nearest unfilled")
        lines.append(f"{spec.key} {spec.shape}: in the file, but not in the net{nearest}")
    count = len(found) + len(missing) + len(unknown)
    if count > len(lines):
        lines.append(f"and {count - len(lines)} more")
    head = "the checkpoint does not fit the net"
    numbers = f"{len(missing)} of its tensors unfilled, {len(unknown)} of the file's unknown"
    head += f" ({numbers})" if missing or unknown else ""
    hint = rules_hint([s.key for s in unknown], [s.torch_key for s in missing])
    if _is_folded(missing, unknown, filled):
        hint = FOLDED
    more = f"\n{hint}" if hint else for_names(spec.key for spec in unknown)
    if not more and bool(missing) != bool(unknown):
        more = f"\n{_of_one_side(missing, unknown, filled)}"
    return "\n  ".join([head + ":", *lines]) + more


def _of_one_side(
    missing: Sequence[TensorSpec], unknown: Sequence[TensorSpec], filled: tuple[set[str], set[str]]
) -> str:
    """Return the next step where one side alone has tensors; `filled` are layers of net and file.

    A bias beside a weight that was paired is a setting of the layer.
    """
    if missing:
        biases = all(_is_bias(s.key) and s.layer in filled[0] for s in missing)
        return BIAS_OF_NET if biases else LACKED_BY_FILE
    biases = all(_is_bias(s.key) and _layer(s.key) in filled[1] for s in unknown)
    return BIAS_OF_FILE if biases else LACKED_BY_NET


def _is_folded(
    missing: Sequence[TensorSpec], unknown: Sequence[TensorSpec], filled: tuple[set[str], set[str]]
) -> bool:
    """Tell whether the file has a bias of a paired layer for each BatchNorm that it lacks."""
    norms = {spec.layer for spec in missing if spec.kind == BATCH_NORM}
    biases = [s for s in unknown if _is_bias(s.key) and _layer(s.key) in filled[1]]
    return bool(norms) and len(norms) == len(biases)


def _layer(key: str) -> str:
    return key.rpartition(".")[0]


def _is_bias(key: str) -> bool:
    return key.rpartition(".")[2] == "bias"


def _nearest(spec: TensorSpec, others: Sequence[TensorSpec], words: str) -> str:
    """Name the tensor of the same role (weight, bias, ...) that is most like `spec` by name.

    An equal number of elements comes first.
    """
    role = _name(spec).rpartition(".")[2]
    others = [other for other in others if _name(other).rpartition(".")[2] == role]
    if not others:
        return ""

    def likeness(other: TensorSpec) -> float:
        names = SequenceMatcher(None, _name(spec), _name(other), autojunk=False).ratio()
        return names + 0.5 * (sorted(spec.shape) == sorted(other.shape))

    best = max(others, key=likeness)
    return f"{words}: {best.key} {best.shape}" if likeness(best) > 0.8 else ""


def _name(spec: TensorSpec) -> str:
    """Return torch's name of a tensor of a net, or what a file calls it."""
    return spec.torch_key if spec.role else spec.key


def _layout_hint(target: TensorSpec, shape: tuple[int, ...]) -> str:
    """Say which rule lets a matrix fit that torch holds the other way round than its kind."""
    rule, fitting = (
        ("keep", target.shape) if target.transposed else ("transpose", target.shape[::-1])
    )
    if len(shape) != 2 or shape != fitting or target.torch_shape is not None:
        return ""
    layout = "[in, out] already" if target.transposed else "[out, in]"
    match = re.escape(target.key)
    return f"; if torch holds it {layout}, say {rule}: ['^{match}$'] in a rules file (--map)"


def _classes_hint(target: TensorSpec, moved: tuple[int, ...], classes_key: str | None) -> str:
    """Suggest the number of classes where only a head's output dimension differs."""
    classes = _other_classes(target, moved)
    if classes is None:
        return ""
    if classes_key is None:
        return "; is that the number of classes?"
    return f"; set num_classes={classes}" if target.torch_key == classes_key else ""


def _other_classes(target: TensorSpec, moved: tuple[int, ...]) -> int | None:
    """Return how many outputs the file has where that alone differs, else None."""
    if target.kind not in {"Conv", "Linear"} or len(moved) != len(target.shape) or not moved:
        return None
    out = -1 if target.kind == "Linear" else 0
    inner = slice(None, -1) if target.kind == "Linear" else slice(1, None)
    if moved[inner] != target.shape[inner] or moved[out] == target.shape[out]:
        return None
    return moved[out]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
