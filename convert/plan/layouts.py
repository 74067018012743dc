"""Matrices whose layout the kind of layer alone does not prove: [out, in] or [in, out].

A file holds names and shapes. That a weight is torch's `nn.Linear` [out, in] and not a matrix that
is [in, out] already (GPT-2's Conv1D, `x @ self.weight`) shows in the shape, unless it is square.
"""

import re
from collections.abc import Iterable, Sequence

from convert.names.rules import Rules
from convert.names.spec import BARE, LINEAR, TensorSpec
from convert.plan.move import Move

_NAMED = 3


def problems(
    moves: Sequence[Move], rules: Rules, target: Sequence[TensorSpec], prefix: str = ""
) -> list[str]:
    """Word what is wrong with the rules about layouts, and which matrices they leave open.

    Where the rules say that some layer's matrix is not as its kind has it, the square ones of that
    kind are not taken on trust.
    """
    names = [name.removeprefix(prefix) for s in target for name in (s.key, s.torch_key)]
    found = rules.unmatched_layouts(names)
    found += [
        f"{move.target.key}: a rule says it is transposed, but it has {len(move.target.shape)} "
        "dimensions; only matrices are"
        for move in moves
        if move.target.said and len(move.target.shape) > 2
    ]
    otherwise = {m.target.kind for m in moves if _said_otherwise(m.target)}
    for move in open_squares(moves):
        if move.target.kind in otherwise:
            found.append(
                f"{move.target.key} {move.target.shape}: square, and the rules say of other "
                f"{move.target.kind} weights that they are not as torch's; say it of this one "
                f"too: {lines(move.target, prefix)}"
            )
    return found


def open_squares(moves: Iterable[Move]) -> list[Move]:
    """Return the moves of square matrices that only the net's kind of layer decides.

    What torch calls in_proj_weight is of its MultiheadAttention, whose layout is known.
    """
    known = [m.source.rpartition(".")[0] for m in moves if m.source.endswith("in_proj_weight")]
    inside = tuple(f"{path}." if path else "" for path in known)
    return [
        move
        for move in moves
        if _is_open(move.target) and not (inside and move.source.startswith(inside))
    ]


def notes(moves: Sequence[Move]) -> list[str]:
    """Say of which square matrices the file does not tell the layout, and what was taken."""
    squares, said = open_squares(moves), []
    for kind, taken in (
        (LINEAR, "written transposed, as torch's Linear needs it; `keep` says it is [in, out]"),
        (BARE, "copied as they are; `transpose` says that torch has them the other way round"),
    ):
        keys = [move.target.key for move in squares if move.target.kind == kind]
        more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
        if keys:
            said.append(
                f"{len(keys)} square matrices, of which the file does not tell the layout, were "
                f"{taken} (docs/rules.md): {', '.join(keys[:_NAMED])}{more}"
            )
    return said


def lines(spec: TensorSpec, prefix: str = "") -> str:
    """Return the two rules of which one says how torch holds a matrix, to paste."""
    match = f"'^{re.escape(spec.key.removeprefix(prefix))}$'"
    return f"keep: [{match}] where it is [in, out], transpose: [{match}] where it is [out, in]"


def _said_otherwise(spec: TensorSpec) -> bool:
    """Tell whether a rule says the contrary of the kind of layer, of a matrix."""
    default = spec.kind == LINEAR
    return spec.said is not None and spec.said != default and len(spec.shape) == 2


def _is_open(spec: TensorSpec) -> bool:
    square = len(spec.shape) == 2 and spec.shape[0] == spec.shape[1] > 1
    return square and spec.said is None and spec.kind in (LINEAR, BARE)
