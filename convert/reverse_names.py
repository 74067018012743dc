"""The way back without an account: names and layouts from the net itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import ConversionError, UserError
from common.pairs import PAIRS, Pair
from convert.conversion import RulesLike
from convert.formats.checkpoint import Checkpoint
from convert.formats.stream import same_bytes
from convert.names.rules import Rules, load_rules, resolve, shipped_rules
from convert.names.rules_backwards import names_back
from convert.names.spec import BATCH_NORM, COUNTER, TensorSpec, joined
from convert.nets.recognise_port import recognise_port
from convert.nets.rows import describe_row, shapes_of
from convert.plan.plan import as_the_rules_say

State = dict[str, np.ndarray]


def back_by_net(
    checkpoint: Checkpoint, model: Any, rules: RulesLike
) -> tuple[State, dict[str, str], tuple[str, ...]]:
    """Return (torch's state dict, ties, names that are missing) for a file of Paddle.

    Raises ConversionError where the file does not fit the net, UserError where no net is known.
    """
    pair, target, row_names = _net_of(checkpoint, model)
    read = load_rules(rules)
    target = [as_the_rules_say(spec, read) for spec in target]
    state, missing = _in_torch(checkpoint, target)
    ties = _second_names(state, pair, row_names)
    wanted = {**dict.fromkeys(row_names or ()), **dict.fromkeys(missing)}
    absent = tuple(name for name in wanted if name not in state)
    if rules is None:
        return state, ties, absent
    return _renamed(state, read, ties, absent)


def _net_of(
    checkpoint: Checkpoint, model: Any
) -> tuple[Pair | None, Sequence[TensorSpec], Sequence[str]]:
    """Return (row of the table, tensors of the net, all names of the torch net if known)."""
    if model is not None and not isinstance(model, str):
        from convert.nets.describe_paddle import describe

        return PAIRS.get(getattr(model, "pair_name", "")), describe(model), ()
    try:
        net, _ = recognise_port(checkpoint.shapes, model, rules=Rules())
    except ConversionError as error:
        raise UserError(
            f"{checkpoint.path}: no account lies beside it and {error}; give --account, or the "
            "net as --model"
        ) from None
    names = list(shapes_of(net.row, net.options))
    return net.pair, describe_row(net.row, net.options), names


def _in_torch(checkpoint: Checkpoint, target: Sequence[TensorSpec]) -> tuple[State, list[str]]:
    """Return torch's tensors, and the counters that Paddle's BatchNorms do not keep."""
    unknown = [key for key in checkpoint if key not in {spec.key for spec in target}]
    absent = [spec.key for spec in target if spec.key not in checkpoint]
    if unknown or absent:
        raise ConversionError(
            f"{checkpoint.path} does not fit the net: {len(absent)} of its tensors are not in the "
            f"file ({', '.join(absent[:3])}), {len(unknown)} of the file's are unknown "
            f"({', '.join(unknown[:3])})"
        )
    state: State = {}
    missing: list[str] = []
    kinds = {spec.key: spec.kind for spec in target}
    packed: dict[str, list[np.ndarray]] = {}
    for spec in target:
        array = _layout(checkpoint.view(spec.key), spec)
        if kinds.get(spec.tied_to or "") == "RNN":  # its second name, which torch does not have
            if not same_bytes(checkpoint.view(spec.key), checkpoint.view(str(spec.tied_to))):
                raise ConversionError(f"{spec.key} and {spec.tied_to} are one tensor, but differ")
            continue
        pieces = [place for place in spec.elsewhere if place.piece is not None]
        if pieces:
            packed.setdefault(pieces[0].key, []).append(array)
        else:
            state[_torch_name(spec)] = array
        if spec.kind == BATCH_NORM and spec.role == "running_var":
            missing.append(f"{spec.torch_key.rpartition('.')[0]}.{COUNTER}")
    for name, parts in packed.items():
        state.update(_packed(name, parts))
    return state, missing


def _layout(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    if spec.transposed and array.ndim == 2:
        return array.T
    return array if spec.torch_shape is None else array.reshape(spec.torch_shape)


def _torch_name(spec: TensorSpec) -> str:
    if spec.kind == "RNNCell" and spec.role == "weight_ho" and spec.elsewhere:
        return spec.elsewhere[0].key
    return spec.torch_key


def _packed(name: str, parts: list[np.ndarray]) -> State:
    """Return torch's projections: packed where all see the same width, else one by one."""
    if len({part.shape for part in parts}) == 1:
        return {name: np.concatenate(parts)}
    path = name.removesuffix("in_proj_weight")
    return {f"{path}{which}_proj_weight": p for which, p in zip("qkv", parts, strict=True)}


def _second_names(state: State, pair: Pair | None, names: Sequence[str]) -> dict[str, str]:
    """Add the row's second names of tensors to `state`; return them."""
    if pair is None:
        return {}
    aliases = resolve(names, shipped_rules(pair.rules)).aliases
    found = {second: first for second, first in aliases.items() if first in state}
    for second, first in found.items():
        state[second] = state[first]
    return found


def _renamed(
    state: State, rules: Rules, ties: Mapping[str, str], missing: tuple[str, ...]
) -> tuple[State, dict[str, str], tuple[str, ...]]:
    back = names_back(state, rules)
    made = {back.names[name]: array for name, array in state.items() if name in back.names}
    for whole, pieces in back.joined.items():
        arrays = [state[name] for name in pieces]
        made[whole] = joined(arrays, back.axes[whole], whole in back.complex)
    renamed = {back.names[a]: back.names[b] for a, b in ties.items() if a in back.names}
    return made, renamed, tuple(names_back(missing, rules).names.values())
