"""The weights that a training starts from where they are another net's.

The table says which row's checkpoint fills which place of another (`Pair.subtrees`), and rules what
is called otherwise there: VGG16 the trunk of an FCN, FCN-32s what it shares with FCN-16s.
"""

from collections.abc import Sequence
from dataclasses import replace

import ml_dtypes

from common.errors import ConversionError, UserError
from common.pairs import PAIRS, get_pair
from convert.conversion import Conversion, convert_arrays
from convert.formats.checkpoint import Checkpoint, read_checkpoint
from convert.job import check_place
from convert.names.rules import Absent, Rules, load_rules, resolve, shipped_rules
from convert.names.spec import COUNTER, PADDLE, TORCH, TensorSpec
from convert.nets.recognise import recognise
from convert.nets.rows import describe_row, shapes_of

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
) -> Conversion:
    """Return what the file of another row fills of the net `model`, and the account.

    Args:
        path: the file; of PyTorch, or for a net in Paddle of either.
        model: row of the net that is to be trained.
        target: the tensors of that net, described in `framework` ("torch" or "paddle").
        row: row that the file holds, at any width; None: find out, at the published one.
        into: the part of the net that is filled, "" = all that the two have in common.
        key: which state dict, where the file holds several.

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
        check_place(row, place)
        _require_whole(checkpoint, row)
        return _fill(checkpoint, row, place, target, framework)
    except ConversionError as error:
        words = str(error).replace("Paddle has", "the net has")
        raise ConversionError(f"{path} (weights.row: {row}) into {place}: {words}") from None


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
    if not same_layout:
        rules = shipped_rules(pair.rules) + rules
    elif framework == TORCH:
        target = [replace(spec, kind="") for spec in target]  # torch's layouts stay as they are
        if not any(name.endswith(COUNTER) for name in checkpoint):
            rules += Rules(absent=(Absent(match=rf"{COUNTER}$", reason=_OLD),))
    names = resolve(checkpoint, rules).sources
    parts = sorted({name.partition(".")[0] + "." for name in names}) if adapted else [""]
    into = place.partition(":")[2]
    prefix = f"{into}." if into else ""
    made = convert_arrays(checkpoint, target, rules, None, prefix, tuple(parts), cast=True)
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
