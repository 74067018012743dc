"""The weights that a training starts from where they are another net's.

The table says which row's checkpoint fills which place of another (`Pair.subtrees`), and rules what
is called otherwise there: VGG16 the trunk of an FCN, FCN-32s what it shares with FCN-16s.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes

from common.errors import ConversionError, UserError
from common.pairs import PAIRS, get_pair
from convert.conversion import Conversion, convert_arrays
from convert.formats.checkpoint import Checkpoint, read_checkpoint
from convert.job import check_place
from convert.names.rules import (
    Absent,
    Rules,
    load_rules,
    resolve,
    shipped_for_paddle,
    shipped_rules,
)
from convert.names.spec import COUNTER, PADDLE, TORCH, TensorSpec
from convert.nets.heads import Shapes, head_by_shapes, head_of_row
from convert.nets.recognise import recognise
from convert.nets.rows import describe_row, shapes_of
from convert.outputs import left_at_initialisation
from convert.plan.account import left_anew
from convert.plan.plan import describe_arrays, pair_tensors

HEAD_REASON = "the head, of {total} classes in the file, begins anew: weights.new_head"
_LEFT = "the conversion that wrote the file left it at initialisation"
_OLD = "the file is older than this counter of torch's BatchNorm, which then starts at 0"


def starting_weights(
    path: str,
    model: str,
    target: Sequence[TensorSpec],
    framework: str,
    *,
    row: str | None = None,
    into: str = "",
    key: str | None = None,
    new_head: Mapping[str, Any] | None = None,
) -> Conversion:
    """Return what the file of another row fills of the net `model`, and the account.

    Args:
        path: the file; of PyTorch, or for a net in Paddle of either.
        model: row of the net that is to be trained.
        target: the tensors of that net, described in `framework` ("torch" or "paddle").
        row: row that the file holds, at any width; None: find out, at the published one.
        into: the part of the net that is filled, "" = all that the two have in common.
        key: which state dict, where the file holds several.
        new_head: options that the net `model` was built with: its head, which is all that the
            number of classes decides, stays at its initialisation, whatever number the file has.
            Then `row` may be `model` itself.

    Raises:
        UserError: the table has no such place, or the file is of the other framework.
        ConversionError: the file is not all of its row, or a tensor does not fit.
    """
    checkpoint = read_checkpoint(path, key)
    if framework == TORCH and checkpoint.framework == PADDLE:
        raise UserError(f"{path}: weights of Paddle; train_torch starts from PyTorch's own")
    row = row or recognise(checkpoint.shapes).row
    place = f"{model}:{into}" if into else model
    try:
        if new_head is None or row != place:
            check_place(row, place)
            _require_whole(checkpoint, row)
        if new_head is None:
            return _fill(checkpoint, row, place, target, framework)
        classes = _classes_of(checkpoint, row, target)
        head = head_of_row(model, new_head, framework, classes)
        made = _fill(checkpoint, row, place, _reshaped(target, head), framework)
        return _without(made, head, target, classes)
    except ConversionError as error:
        words = str(error).replace("Paddle has", "the net has")
        raise ConversionError(f"{path} (weights.row: {row}) into {place}: {words}") from None


def own_with_new_head(
    path: str,
    target: Sequence[TensorSpec],
    framework: str,
    classes: int,
    *,
    rules: str | None = None,
    key: str | None = None,
) -> Conversion:
    """Return what the file of a net of the user's own fills of it, all but the head.

    The head are the tensors that differ from the file's in the number of classes alone: in the net
    that is `classes`. `rules` say how a file of torch names things otherwise than a net in Paddle.

    Raises UserError where the file is of the other framework, ConversionError where it does not
    fit otherwise, or no tensor differs so.
    """
    checkpoint = read_checkpoint(path, key)
    if framework == TORCH and checkpoint.framework == PADDLE:
        raise UserError(f"{path}: weights of Paddle; train_torch starts from PyTorch's own")
    same_layout = checkpoint.framework == framework
    chosen = Rules() if same_layout else load_rules(rules)
    if framework == TORCH:
        target = [replace(spec, kind="") for spec in target]
    if same_layout:
        held = {name: tuple(shape) for name, shape in checkpoint.shapes.items()}
    else:
        moves, _ = pair_tensors(describe_arrays(checkpoint), target, chosen)
        shapes = {name: tuple(checkpoint.shapes[move.source]) for name, move in moves.items()}
        held = {n: shape[::-1] if moves[n].transposed else shape for n, shape in shapes.items()}
    try:
        head = head_by_shapes(target, held, classes)
        made = convert_arrays(checkpoint, _reshaped(target, head), chosen, None, cast=True)
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}") from None
    first = next(spec for spec in target if spec.key in head)
    pairs = zip(first.shape, head[first.key], strict=True)
    return _without(made, head, target, next(theirs for ours, theirs in pairs if ours != theirs))


def _classes_of(checkpoint: Checkpoint, row: str, target: Sequence[TensorSpec]) -> int:
    """Return how many classes the file of `row` has; ConversionError where it has no such head."""
    key = PAIRS[row].classes_key
    source = resolve(checkpoint, _rules_of_file(checkpoint, row, target)).sources.get(key)
    if source is None:
        raise ConversionError(f"the file lacks {key}, which tells its number of classes")
    shape = checkpoint.shapes[source]
    return int(shape[-1] if len(shape) == 2 and checkpoint.framework == PADDLE else shape[0])


def _rules_of_file(checkpoint: Checkpoint, row: str, target: Sequence[TensorSpec]) -> Rules:
    """Return the rules by which the file names the tensors of its own row, or those of the net."""
    if checkpoint.framework != PADDLE:
        return shipped_rules(PAIRS[row].rules)
    names = {spec.key for spec in target}
    kinds = (Rules(), *shipped_for_paddle(row))
    return max(kinds, key=lambda rules: len(names & set(resolve(checkpoint, rules).sources)))


def _absent_as_told(path: Path) -> Rules:
    """Return that a converted file lacks what the account beside it says it left."""
    names = left_at_initialisation(path)
    return Rules(absent=tuple(Absent(match=f"^{re.escape(n)}$", reason=_LEFT) for n in names))


def _reshaped(target: Sequence[TensorSpec], shapes: Shapes) -> list[TensorSpec]:
    return [replace(spec, shape=shapes.get(spec.key, spec.shape)) for spec in target]


def _without(
    made: Conversion, head: Shapes, target: Sequence[TensorSpec], classes: int
) -> Conversion:
    """Return a conversion into a net of `classes` classes without what its head is filled with."""
    filled = {name for name in made.state if name in head}
    reason = HEAD_REASON.format(total=classes)
    account = left_anew(made.account, filled, reason)
    shapes = {spec.key: spec.shape for spec in target}
    rows = [
        replace(row, shape=shapes[row.key]) if row.key in head else row
        for row in account.target_tensors
    ]
    state = {name: array for name, array in made.state.items() if name not in head}
    return replace(made, state=state, account=replace(account, target_tensors=tuple(rows)))


def told(conversion: Conversion, path: str) -> str:
    """Say in one line what a conversion fills, and what it leaves."""
    account = conversion.account
    line = f"weights: {len(conversion.state)} of {len(account.target_tensors)} tensors from {path}"
    if left := account.left_at_initialisation:
        line += f"; left at initialisation: {', '.join(left)}"
    for reason, keys in account.dropped_by_reason.items():
        line += f"; not taken: {', '.join(keys)} ({reason})"
    return line


def _fill(
    checkpoint: Checkpoint, row: str, place: str, target: Sequence[TensorSpec], framework: str
) -> Conversion:
    pair, same_layout = PAIRS[row], checkpoint.framework == framework
    adapted = place in pair.subtree_rules
    rules = load_rules(pair.subtree_rules[place]) if adapted else Rules()
    if checkpoint.framework == PADDLE and rules.reshapes:
        raise ConversionError("its layers are of another kind there; give the file of PyTorch")
    own = row == place  # the net's own file
    if not same_layout or (own and framework == PADDLE):
        rules = _rules_of_file(checkpoint, row, target) + rules
    if own and checkpoint.framework == PADDLE:
        rules += _absent_as_told(checkpoint.path)
    if same_layout and framework == TORCH:
        target = [replace(spec, kind="") for spec in target]  # torch's layouts stay as they are
        if not any(name.endswith(COUNTER) for name in checkpoint):
            rules += Rules(absent=(Absent(match=rf"{COUNTER}$", reason=_OLD),))
    names = resolve(checkpoint, rules).sources
    parts = sorted({name.partition(".")[0] + "." for name in names}) if adapted else [""]
    into = place.partition(":")[2]
    prefix = f"{into}." if into else ""
    made = convert_arrays(
        checkpoint, target, rules, pair if own else None, prefix, tuple(parts), cast=True
    )
    if framework == PADDLE:
        return made
    dtypes = {tensor.key: tensor.dtype for tensor in made.account.target_tensors}
    state = {
        name: array.view(ml_dtypes.bfloat16) if dtypes[name] == "bfloat16" else array
        for name, array in made.state.items()
    }
    return replace(made, state=state)


def _require_whole(checkpoint: Checkpoint, row: str) -> None:
    """Raise ConversionError where the file lacks tensors of `row`; widths are not looked at."""
    held = set(checkpoint)
    lacking = []
    for variant in get_pair(row).variants:
        if checkpoint.framework == PADDLE:
            wanted = {spec.key for spec in describe_row(row, variant)}
        else:
            wanted = set(shapes_of(row, variant))
        absent = sorted(name for name in wanted - held if not name.endswith(COUNTER))
        if not absent:
            return
        lacking.append(absent)
    absent = min(lacking, key=len)
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
    raise ConversionError(
        f"the file lacks {', '.join(absent[:3])}{more} of {row}; if it holds another net, "
        "name that as weights.row"
    )
