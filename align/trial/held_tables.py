"""Tables that code computes in float32 when a net is built: positions, sines, anchors.

They are no weights: each side has computed its own, and the last bits are its own kernels'. Both
nets are judged with the reference's, and what that hides is said.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from align.judge.kernels import EPS32
from align.judge.words import Words, first_of
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.pairing.tensors import join

# So many units of float32 between two ways to compute a value of the largest magnitude; for each
# place along the longest axis one more: the angle of the n-th position is n times one of another.
UNITS = 4
MOST_NAMES = 3


def hold_tables(sides: Sides[Reference]) -> list[Words]:
    """Give the port's tables the reference's values, where float32's rounding tells them apart.

    Both nets are `prepared`, which puts them back. Returns a note, if there is one.
    """
    from align.arrays.arrays_paddle import to_tensor

    names, worst = [], 0.0
    tables = sides.reference.tables()
    for port, path in sides.pairing.partners.items():
        for name, theirs in tables.get(path, {}).items():
            for own, tensor, ours in _alike(sides.layers[port], name, theirs):
                error = _rounding_apart(theirs, ours)
                if error:
                    tensor.set_value(to_tensor(np.ascontiguousarray(theirs, ours.dtype)))
                    names.append(join(port, own))
                    worst = max(worst, error)
                    break
    if not names:
        return []
    said = {"names": first_of(names, MOST_NAMES), "error": worst}
    return [Words("tables_held", count=len(names), **said)]


def _alike(layer: Any, name: str, theirs: np.ndarray) -> Iterator[tuple[str, Any, np.ndarray]]:
    """Yield (name, tensor, its values) of the buffers that may stand for a table.

    That is the one of its name, or any of its shape where there is none of that name.
    """
    from align.arrays.arrays_paddle import to_array

    own = {key: tensor for key, tensor in layer._buffers.items() if tensor is not None}
    for key, tensor in own.items():
        if key == name or name not in own:
            values = to_array(tensor)
            if values.shape == theirs.shape and values.dtype.kind == "f":
                yield key, tensor, values


def _rounding_apart(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Return how far two tables are apart, 0 where they are equal or no rounding explains it."""
    if not (_is_float32(theirs) and _is_float32(ours)):
        return 0.0
    scale = float(np.abs(theirs).max(initial=0.0))
    error = float(np.abs(theirs - ours).max(initial=0.0))
    units = UNITS + max(theirs.shape, default=0)
    return error / scale if 0.0 < error <= units * EPS32 * scale else 0.0


def _is_float32(values: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32).astype(values.dtype)
    return bool(np.isfinite(values).all() and (rounded == values).all())
