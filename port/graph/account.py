"""What became of every tensor of the source in the net that was written: found by its values."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RENAMED, TRANSPOSED, RESHAPED = "renamed", "transposed", "reshaped"
IN_CODE, GONE, COPIED = "in the code", "left out", "copied"
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class TensorWay:
    """The way of one tensor.

    target: its name in the Paddle net, "" where it has none there. reason: why, in that case, or
    what else is to know.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    became: str
    target: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {"shape": list(self.shape)}


@dataclass(frozen=True)
class GraphAccount:
    """The ways of all tensors of the source, and what the written net has besides.

    A second copy of a tensor is not counted as besides.
    """

    ways: tuple[TensorWay, ...]
    added: tuple[str, ...]

    @property
    def target_of(self) -> dict[str, str]:
        """Return {name in the source: name in the Paddle net}."""
        return {way.name: way.target for way in self.ways if way.target}

    def counts(self) -> dict[str, int]:
        """Return how many tensors went each way."""
        found: dict[str, int] = defaultdict(int)
        for way in self.ways:
            found[way.became] += 1
        return dict(found)


def account_of(
    source: Mapping[str, np.ndarray],
    target: Mapping[str, np.ndarray],
    reasons: Mapping[str, str],
) -> GraphAccount:
    """Return the account of `source` -> `target`, both name -> array.

    Equal tensors are paired in their order. reasons: why a tensor of the source is not in the net.
    """
    free: dict[tuple[str, bytes], list[str]] = defaultdict(list)
    for name, array in target.items():
        free[_mark(array)].append(name)
    taken: dict[tuple[str, bytes], str] = {}
    ways = tuple(_way(name, array, target, free, taken, reasons) for name, array in source.items())
    used, known = {way.target for way in ways}, {_mark(array) for array in source.values()}
    added = (name for name in target if name not in used and _mark(target[name]) not in known)
    return GraphAccount(ways, tuple(added))


def _way(
    name: str,
    array: np.ndarray,
    target: Mapping[str, np.ndarray],
    free: dict[tuple[str, bytes], list[str]],
    taken: dict[tuple[str, bytes], str],
    reasons: Mapping[str, str],
) -> TensorWay:
    shape, dtype = tuple(array.shape), array.dtype.name
    for became, turned in ((RENAMED, array), (TRANSPOSED, array.T)):
        mark = _mark(turned)
        if became == TRANSPOSED and array.ndim != 2:
            continue
        found = next((one for one in free[mark] if target[one].shape == turned.shape), "")
        found = found or (free[mark][0] if free[mark] and became == RENAMED else "")
        if found:
            free[mark].remove(found)
            taken.setdefault(mark, found)
            reshaped = target[found].shape != turned.shape
            same = COPIED if found == name else became
            return TensorWay(name, shape, dtype, RESHAPED if reshaped else same, found)
        if array.size > 1 and mark in taken:
            return TensorWay(
                name, shape, dtype, became, taken[mark], "as another of the same values"
            )
    if name in reasons:
        return TensorWay(name, shape, dtype, GONE, "", reasons[name])
    if name.endswith(COUNTER):
        return TensorWay(name, shape, dtype, GONE, "", "a counter of batches, which Paddle has not")
    if array.size <= 1 or array.dtype.kind in "iub":
        return TensorWay(name, shape, dtype, IN_CODE, "", "a setting, written into the code")
    return TensorWay(name, shape, dtype, GONE, "", "folded into another tensor, or not needed")


def _mark(array: np.ndarray) -> tuple[str, bytes]:
    return array.dtype.name, np.ascontiguousarray(array).tobytes()
