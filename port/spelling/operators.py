"""Operators between tensors of two types: torch turns one of them, Paddle stops."""

from port.calls import Argument, Spelled
from port.spelling.texts import atom, operand

# By category, then by size; half and bfloat16 together become float32, which no side is.
ORDER = (
    ("bool",),
    ("uint8", "int8", "int16", "int32", "int64"),
    ("float16", "bfloat16", "float32", "float64"),
    ("complex64", "complex128"),
)


def spell_operator(sign: str, left: Argument, right: Argument) -> Spelled | None:
    """Return `left sign right` with one side turned into the other's type; None where none is.

    Args:
        sign: "+", "-", "*", "/", "**", "//", "%", "@", or a comparison.
        left, right: the operands as they ran.
    """
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


def spell_operand(target: Argument, value: Argument) -> Spelled | None:
    """Return the operand of `target += value` in the target's type, which torch keeps."""
    both = (target, value)
    if any(one.kind != "tensor" or one.dtype is None for one in both):
        return None
    if target.dtype == value.dtype:
        return None
    turned = f"{atom(value.text)}.astype({target.text}.dtype)"
    return Spelled(turned, notes=_notes(value, target))


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
