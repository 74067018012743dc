"""Tensors in the dtype of the net that takes them, where the file has another."""

from collections.abc import Iterable
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from common.errors import ConversionError
from convert.formats.stored import dtype_named


@dataclass(frozen=True)
class CastFrom:
    """What a cast tensor was: the file's dtype, and whether values were rounded to the net's."""

    dtype: str
    rounded: bool


def group_of(dtype: str) -> str:
    """Return what a dtype counts: "float", "complex" or "integer" (booleans too).

    Nothing is cast from one to the other.
    """
    return next((group for group in ("float", "complex") if group in dtype), "integer")


def fitted(key: str, array: np.ndarray, dtype: str) -> tuple[np.ndarray, CastFrom | None]:
    """Return `array` in `dtype`, and what it was, None where it has that dtype already.

    Raises ConversionError where a value is beyond what `dtype` holds.
    """
    wanted = dtype_named(dtype)
    if array.dtype == wanted:
        return array, None
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(wanted)
        same = _same(made.astype(array.dtype), array)
    wrong = ~same if group_of(dtype) == "integer" else np.isfinite(array) & ~np.isfinite(made)
    if wrong.any():
        raise ConversionError(
            f"{key}: {int(wrong.sum())} of {array.size} values of the file's {array.dtype.name} "
            f"are beyond the net's {dtype}; build the net in {array.dtype.name}"
        )
    return made, CastFrom(array.dtype.name, not bool(same.all()))


def back(array: np.ndarray, dtype: str) -> np.ndarray | None:
    """Return `array` in the dtype that it was cast from, None where that does not hold it."""
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(dtype_named(dtype))
        return made if _same(made.astype(array.dtype), array).all() else None


def told(casts: Iterable[tuple[str, CastFrom]]) -> list[str]:
    """Say what was cast: a sentence for each pair of dtypes. `casts` are (dtype now, before)."""
    counts: dict[tuple[str, str], list[bool]] = {}
    for dtype, before in casts:
        counts.setdefault((before.dtype, dtype), []).append(before.rounded)
    lines = []
    for (before_, now), rounded in counts.items():
        exact = "no value changed" if not any(rounded) else f"{sum(rounded)} of them rounded"
        lines.append(f"{len(rounded)} tensors cast from the file's {before_} to the net's {now}")
        lines[-1] += f", {exact}"
    return lines


def bits(array: np.ndarray) -> np.ndarray:
    """Return bfloat16 as its uint16 bits, which is how Paddle's files hold it."""
    return array.view(np.uint16) if array.dtype == ml_dtypes.bfloat16 else array


def _same(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    equal = np.asarray(one == other)
    if other.dtype.kind in "biu":
        return equal
    return equal | (np.isnan(one) & np.isnan(other))
