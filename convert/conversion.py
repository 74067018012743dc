"""From a torch state dict to a Paddle net's: `convert_state` on arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from common.pairs import PAIRS, Pair
from convert.formats.table import PDPARAMS, Format
from convert.names.rules import Rules, load_rules, shipped_rules
from convert.names.spec import TensorSpec
from convert.nets.recognise import counters_decide
from convert.plan import layouts
from convert.plan.account import Account, draw_up
from convert.plan.cast import CastFrom, told
from convert.plan.plan import check_aliases, describe_arrays, plan_moves

RulesLike = str | PathLike[str] | Rules | None


@dataclass(frozen=True)
class Conversion:
    """A converted state dict and its account.

    Attributes:
        state: arrays under Paddle's names, in the order of the net's state dict, ready for
            `set_state_dict`. dtypes are the source's; bfloat16 as its uint16 bits. Views of the
            source where its layout allows: they are valid as long as the source is.
        account: what became of every tensor.
    """

    state: dict[str, np.ndarray]
    account: Account


def convert_state(
    arrays: Mapping[str, np.ndarray],
    paddle_layer: Any,
    rules: RulesLike = None,
    *,
    cast: bool = False,
) -> Conversion:
    """Convert a torch state dict into that of `paddle_layer`, which is read, not changed.

    Args:
        arrays: torch's names -> arrays of any dtype (bfloat16 as ml_dtypes).
        paddle_layer: a `paddle.nn.Layer`; its shapes and kinds of layer decide.
        rules: a rules file (path), the name of a shipped one, or `Rules`. Default: those of the
            layer's row if `paddle_impl.build_model` built it, else none.
        cast: give the arrays the layer's dtypes instead of their own; the account says so.

    Raises:
        ConversionError: where anything does not fit, is unaccounted for, or an alias differs from
            its first name. Nothing is ever skipped.
        ConfigError: where the rules file is wrong.
    """
    from convert.nets.describe_paddle import describe

    pair = PAIRS.get(getattr(paddle_layer, "pair_name", ""))
    return convert_arrays(arrays, describe(paddle_layer), rules_for(pair, rules), pair, cast=cast)


def rules_for(pair: Pair | None, rules: RulesLike) -> Rules:
    """Return `rules` where given, else the rules of the row `pair`, else none."""
    if rules is not None:
        return load_rules(rules)
    return shipped_rules(pair.rules) if pair else Rules()


def convert_arrays(
    arrays: Mapping[str, np.ndarray],
    target: Sequence[TensorSpec],
    rules: Rules,
    pair: Pair | None,
    prefix: str = "",
    parts: tuple[str, ...] = ("",),
    output: Format = PDPARAMS,
    cast: bool = False,
) -> Conversion:
    """Convert `arrays` into the tensors `target` of a net of row `pair` (None: a stranger's).

    Arrays of a file of Paddle's keep their layout. `output` is the format to write. With
    `prefix` ("cp.backbone.") they fill that part of the net, with `parts` ("layer0.", ...)
    only these below it; the tensors outside are accounted for as left at initialisation. `cast`
    gives them the net's dtypes.
    """
    inside = tuple(prefix + part for part in parts)
    same_layout = getattr(arrays, "framework", rules.framework) == "paddle"
    plan = plan_moves(
        describe_arrays(arrays),
        [spec for spec in target if spec.key.startswith(inside)],
        rules,
        prefix,
        counters_decide=pair is not None and counters_decide(pair),
        classes_key=pair.classes_key if pair else None,
        same_layout=same_layout,
        output=output,
        cast=cast,
    )
    check_aliases(plan, arrays)
    untouched = [s for s in target if s.key in plan.absent or not s.key.startswith(inside)]
    casts: dict[str, CastFrom] = {}
    state = dict(plan.apply(arrays, casts=casts if cast else None))
    account = draw_up(plan, arrays, untouched, casts)
    notes = [
        *rules.notes,
        *told((r.dtype, casts[r.key]) for r in account.target_tensors if r.key in casts),
    ]
    if pair is None and not same_layout:  # both sides of a row are known
        notes += layouts.notes(plan.moves)
    return Conversion(state, replace(account, notes=tuple(notes)))
