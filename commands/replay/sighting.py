"""A value that is not finite, and where in a step it stood."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

DATA, WEIGHTS, FORWARD, LOSS, BACKWARD, UPDATE = (
    *("data", "weights", "forward", "loss"),
    *("backward", "update"),
)
NET, CRITERION = "net", "criterion"


@dataclass(frozen=True)
class Bad:
    """How many values of a tensor are not finite, and the place of the first."""

    nan: int
    infinite: int
    total: int
    index: tuple[int, ...]


@dataclass(frozen=True)
class Sighting:
    """The first tensor of a step that is not finite, or a later one.

    Attributes:
        phase: of the step: data, weights, forward, loss, backward or update.
        part: net or criterion.
        layer: path in it, "" for its own code.
        kind: class of the layer.
        where: which tensor: input:0, output:0, grad_output:0, grad:weight, weight:..., a variable.
        bad: how many of its values.
        source: file:line, in function, of the code of the net or the criterion.
        batch: number of the micro-batch, from 0.
    """

    phase: str
    part: str
    layer: str
    kind: str
    where: str
    bad: Bad
    source: str
    batch: int

    @property
    def place(self) -> tuple[str, str, str]:
        """What is compared between the two frameworks."""
        return self.phase, self.part, self.layer

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"bad": asdict(self.bad) | {"index": list(self.bad.index)}}


def bad_values(array: np.ndarray) -> Bad | None:
    """Return what of an array is not finite; None where all is, or it holds whole numbers."""
    if array.dtype.kind not in "fc" and array.dtype.name != "bfloat16":
        return None
    values = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    wrong = ~np.isfinite(values)
    if not wrong.any():
        return None
    nan = int(np.isnan(values).sum())
    index = tuple(int(place) for place in np.argwhere(wrong)[0])
    return Bad(nan, int(wrong.sum()) - nan, int(array.size), index)


def bad_image(images: Sequence[np.ndarray]) -> tuple[int, Bad] | None:
    """Return (micro-batch, what is not finite of its images [N, 3, H, W]), None where all is."""
    for number, array in enumerate(images):
        if found := bad_values(array):
            return number, found
    return None


def bad_weight(arrays: Mapping[str, np.ndarray]) -> tuple[str, Bad] | None:
    """Return (name, what is not finite) of the first such array, None where all is."""
    for name, array in arrays.items():
        if found := bad_values(array):
            return name, found
    return None
