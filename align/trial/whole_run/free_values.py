"""What one free run of a net and its loss came to, in either framework."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from align.arrays.distances import distance
from common.errors import UserError

Array = np.ndarray | None  # None: no gradient comes


@dataclass
class FreeValues:
    """The loss, the gradients of the inputs in the order of `trees.map_leaves`, of parameters.

    `values` has them by place: "loss:0", "grad_input:0", "grad:name". `moved` are buffers that the
    loss leaves otherwise than the net alone does.
    """

    values: dict[str, Array] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)


def distances(exact: FreeValues, other: FreeValues) -> dict[str, float]:
    """Return how far every tensor of `other` is from `exact`, by place.

    Raises UserError where one of them has no gradient, or another shape.
    """
    found: dict[str, float] = {}
    for place, array in exact.values.items():
        again = other.values.get(place)
        if array is None and again is None:
            continue
        if array is None or again is None or array.shape != again.shape:
            raise UserError(
                f"could not check: the reference's loss differentiates the net, and {place} has "
                "a gradient, or a shape, that hangs on rounding: another run of it gives another"
            )
        apart = distance(array, again).worst
        found[place] = apart if math.isfinite(apart) else 0.0  # nothing is allowed for there
    return found


def changed(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the arrays that are not the same to the bit in both."""
    return [
        name
        for name in {**one, **other}
        if name not in one
        or name not in other
        or not np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind in "fc")
    ]
