"""Which tensor is which where one side returns a dict and the other a list."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from align.arrays.trees import children, leaves, map_leaves

Tells = Callable[[Any], bool]


class _Number:
    """Stands for a tensor of a tree: which one it is, in the order of `map_leaves`."""

    def __init__(self, index: int) -> None:
        self.index = index


class _Unlike(Exception):
    """Two trees do not hold the same number of tensors in the same places."""


def order_like(template: Any, tree: Any, stands: Tells, is_tensor: Tells) -> list[int] | None:
    """Return for each tensor of `template` which one of `tree` it is, by their number.

    A dict and a list, and dicts of other keys, are paired in the dicts' own order. `stands` tells
    which leaves of `template` stand for a tensor. None where both are visited in one order
    anyway, and where the trees cannot be paired.
    """
    if is_tensor(tree) or not (holds_mapping(tree) or holds_mapping(template)):
        return None
    numbers = iter(range(len(leaves(tree))))
    numbered = map_leaves(tree, lambda v: _Number(next(numbers)) if is_tensor(v) else v)
    try:
        found = list(_paired(template, numbered, stands))
    except _Unlike:
        return None
    return None if found == list(range(len(found))) and _alike(template, tree) else found


def picked(order: Sequence[int] | None, tensors: list[Any]) -> list[Any]:
    """Return the tensors of a tree in the template's order."""
    return tensors if order is None else [tensors[index] for index in order]


def _paired(template: Any, tree: Any, stands: Tells) -> Iterator[int]:
    theirs, ours = children(template), children(tree)
    if theirs is None or ours is None:
        if theirs is not ours or not (stands(template) and isinstance(tree, _Number)):
            raise _Unlike
        yield tree.index
        return
    named = isinstance(template, Mapping) and isinstance(tree, Mapping)
    left = {k: v for k, v in theirs.items() if any(map(stands, leaves(v)))}
    right = {k: v for k, v in ours.items() if any(isinstance(n, _Number) for n in leaves(v))}
    if len(left) != len(right):
        raise _Unlike
    partner = (
        right
        if named and left.keys() == right.keys()
        else dict(zip(left, right.values(), strict=True))
    )
    visited = sorted(left, key=str) if isinstance(template, Mapping) else left
    for key in visited:
        yield from _paired(left[key], partner[key], stands)


def holds_mapping(tree: Any) -> bool:
    """Tell whether there is a dict in a tree."""
    inside = children(tree)
    if inside is None:
        return False
    return isinstance(tree, Mapping) or any(map(holds_mapping, inside.values()))


def _alike(one: Any, other: Any) -> bool:
    """Tell whether code that takes one of two trees takes the other, too."""
    left, right = children(one), children(other)
    if left is None or right is None:
        return left is right
    if isinstance(one, Mapping) != isinstance(other, Mapping):
        return False
    return left.keys() == right.keys() and all(_alike(left[k], right[k]) for k in left)
