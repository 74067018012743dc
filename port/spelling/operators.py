"""Operators that Paddle refuses, or computes otherwise: between two types, sizes and tuples."""

import ast
from dataclasses import replace
from typing import Protocol

from common.environment import paddle_version
from port.calls import Argument, Spelled
from port.spelling.bind import BY_DTYPE
from port.spelling.render import as_list
from port.spelling.texts import atom, operand, parsed

# By category, then by size; half and bfloat16 together become float32, which no side is.
ORDER = (
    ("bool",),
    ("uint8", "int8", "int16", "int32", "int64"),
    ("float16", "bfloat16", "float32", "float64"),
    ("complex64", "complex128"),
)


class Typed(Protocol):
    """What is known of a value: an argument, or what was recorded of it."""

    @property
    def kind(self) -> str:
        """Return what it is, as of an argument."""
        ...

    @property
    def dtype(self) -> str | None:
        """Return the dtype of a tensor."""
        ...


def may_be_respelled(sign: str, left: Typed, right: Typed) -> bool:
    """Tell whether `left sign right` could have a spelling of its own."""
    if sign == "+" and "size" in (left.kind, right.kind):
        return left.kind != right.kind
    if _is_rounded(sign, left):
        return True
    return left.kind == right.kind == "tensor" and left.dtype != right.dtype


def spell_operator(sign: str, left: Argument, right: Argument) -> Spelled | None:
    """Return `left sign right` with one side turned into the other's type; None where none is.

    Args:
        sign: "+", "-", "*", "/", "**", "//", "%", "@", or a comparison.
        left, right: the operands as they ran.
    """
    if sign == "+" and "size" in (left.kind, right.kind):
        return _joined_sizes(left, right)
    if _is_rounded(sign, left) and (right.kind != "tensor" or right.dtype == left.dtype):
        return Spelled(f"remainder({left.text}, {right.text})", helpers=frozenset({"remainder"}))
    if left.kind != "tensor" or right.kind != "tensor" or left.dtype == right.dtype:
        return None
    kept = _stronger(left, right)
    if kept is right:
        turned = f"{atom(left.text)}.astype({atom(right.text)}.dtype)"
        return Spelled(f"({turned} {sign} {operand(right.text)})", notes=_notes(left, right))
    if kept is left:
        turned = f"{atom(right.text)}.astype({atom(left.text)}.dtype)"
        return Spelled(f"({operand(left.text)} {sign} {turned})", notes=_notes(right, left))
    return None


def _is_rounded(sign: str, left: Typed) -> bool:
    """Tell whether Paddle's `%` rounds a number to float32 and hands no gradient on."""
    fractions = left.kind == "tensor" and left.dtype in BY_DTYPE["floating"]
    return sign == "%" and fractions and (paddle_version() or (3, 0)) < (3, 0)


def _joined_sizes(left: Argument, right: Argument) -> Spelled | None:
    """Return `x.shape[:2] + [-1]`: Paddle's shapes are lists, to which no tuple is added."""
    given = (left, right)
    size = next(one for one in given if one.kind == "size")
    if {one.kind for one in given} != {"size", "tuple"} or size.text.startswith("tuple("):
        return None
    first, second = (one.text if one is size else _as_list(one.text) for one in given)
    before = first if isinstance(parsed(first), ast.BinOp) else operand(first)
    return Spelled(f"{before} + {operand(second)}")


def _as_list(text: str) -> str:
    listed = as_list(text)
    return f"list({text})" if listed == text else listed


def spell_operand(target: Argument, value: Argument) -> Spelled | None:
    """Return the operand of `target += value` in the target's type, which torch keeps."""
    both = (target, value)
    if any(one.kind != "tensor" or one.dtype is None for one in both):
        return None
    if target.dtype == value.dtype:
        return None
    turned = f"{atom(value.text)}.astype({target.text}.dtype)"
    return Spelled(turned, notes=_notes(value, target))


def in_one_type(target: bool, left: Argument, right: Argument) -> tuple[Argument, Argument]:
    """Return two arguments of a function, one turned into the other's type where they differ.

    target: the function writes into the left one, which keeps its type.
    """
    if left.kind != "tensor" or right.kind != "tensor" or left.dtype == right.dtype:
        return left, right
    kept = left if target else _stronger(left, right)
    if kept is None or None in (left.dtype, right.dtype):
        return left, right
    given = (left, right)
    turned = next(one for one in given if one is not kept)
    text = f"{atom(turned.text)}.astype({atom(kept.text)}.dtype)"
    respelled = replace(turned, text=text, dtype=kept.dtype)
    return (left, respelled) if kept is left else (respelled, right)


def _stronger(left: Argument, right: Argument) -> Argument | None:
    """Return the operand whose dtype the result has; a tensor without axes counts by category."""
    places = _place(left.dtype), _place(right.dtype)
    if places[0] is None or places[1] is None:
        return None
    (first, one), (second, other) = places[0], places[1]
    if first != second:
        return left if first > second else right
    if (left.rank == 0) != (right.rank == 0):
        return right if left.rank == 0 else left
    if {left.dtype, right.dtype} == {"float16", "bfloat16"}:
        return None
    return left if one > other else right


def _place(dtype: str | None) -> tuple[int, int] | None:
    for category, names in enumerate(ORDER):
        if dtype in names:
            return category, names.index(dtype)
    return None


def _notes(turned: Argument, kept: Argument) -> tuple[str, ...]:
    return (f"{turned.text} ({turned.dtype}) is turned into {kept.dtype}, as torch does",)
