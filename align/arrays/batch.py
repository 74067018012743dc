"""The arguments of the nets, as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from align.arrays.trees import is_plain, leaves, map_leaves

# Arrays, or trees of them where a loss takes several outputs.
Inputs = Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class NetBatch:
    """Arguments of the nets as arrays, and the label of the losses where there is one."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    label: Any = None  # an array, or a tree of arrays where a loss takes several

    @property
    def whole(self) -> "NetBatch":
        """The same as arguments of `NetWithLoss`: net and loss in one."""
        return NetBatch((self.args, dict(self.kwargs), self.label), {})

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Return {position or keyword: shape}."""
        named = {**{str(i): array for i, array in enumerate(self.args)}, **self.kwargs}
        if self.label is not None:
            named["label"] = self.label
        return {
            name if len(arrays) == 1 else f"{name}.{index}": list(array.shape)
            for name, tree in named.items()
            for arrays in [leaves(tree)]
            for index, array in enumerate(arrays)
            if not is_plain(array)
        }


def as_batch(inputs: Inputs, dtype: str, labelled: bool = False) -> NetBatch:
    """Read `inputs`: a sequence is positional, a mapping keywords; a label stands last.

    Floating arrays are cast to `dtype`, those of the label with the rest; None, numbers and text
    stay what they are. A label may be several arrays: a tuple, a list or a dict, nested at will.
    """

    def cast_one(value: Any) -> Any:
        if is_plain(value):
            return value
        array = np.asarray(value)
        if array.dtype.kind == "c":
            return array.astype(np.complex128 if dtype == "float64" else np.complex64)
        return array.astype(dtype) if array.dtype.kind == "f" else array

    def cast(tree: Any) -> Any:
        return map_leaves(tree, cast_one)

    if isinstance(inputs, np.ndarray):
        inputs = (inputs,)
    if isinstance(inputs, Mapping):
        names = list(inputs)
        label = cast(_as_label(inputs[names.pop()])) if labelled else None
        return NetBatch((), {name: cast(inputs[name]) for name in names}, label)
    arrays = list(inputs)
    label = cast(_as_label(arrays.pop())) if labelled else None
    return NetBatch(tuple(cast(array) for array in arrays), {}, label)


def _as_label(given: Any) -> Any:
    """Return a number, or numbers in lists, as an array; a tree of arrays as it is."""
    if given is not None and all(type(leaf) in (bool, int, float) for leaf in leaves(given)):
        return given if isinstance(given, Mapping) else np.asarray(given)
    return given
