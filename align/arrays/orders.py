"""Which tensor is which where one side returns a dict and the other a list."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from align.arrays.trees import children, leaves, map_leaves

Tells = Callable[[Any], bool]


class _Number:
    """Stands for a tensor of a tree: which one it is, in the order of `map_leaves`."""

    def __init__(self, index: int) -> None:
        self.index = index


def order_like(template: Any, tree: Any, stands: Tells, is_tensor: Tells) -> list[int] | None:
    """Return for each tensor of `template` which one of `tree` it is, by their number.

    Entries of the same names are paired by name. A dict and a list, dicts of other keys, and trees
    of another depth are paired in their own order. `stands` tells which leaves of `template` stand
    for a tensor. None where code that takes `tree` takes `template` as well, and where they do not
    hold the same number of tensors.
    """
    if _alike(template, tree):
        return None
    theirs, ours = _numbered(template, stands), _numbered(tree, is_tensor)
    if len(_numbers(theirs)) != len(_numbers(ours)):
        return None
    found: dict[int, int] = {}
    _pair(theirs, ours, found)
    return [found[index] for index in range(len(found))]


def picked(order: Sequence[int] | None, tensors: list[Any]) -> list[Any]:
    """Return the tensors of a tree in the template's order."""
    return tensors if order is None else [tensors[index] for index in order]


def holds_names(tree: Any) -> bool:
    """Tell whether there is a dict, a dataclass or a named tuple in a tree."""
    inside = children(tree)
    if inside is None:
        return False
    return type(tree) not in (tuple, list) or any(map(holds_names, inside.values()))


def _numbered(tree: Any, is_tensor: Tells) -> Any:
    """Return `tree` with a `_Number` in place of each tensor."""
    numbers = iter(range(len(leaves(tree))))
    return map_leaves(tree, lambda leaf: _Number(next(numbers)) if is_tensor(leaf) else leaf)


def _numbers(tree: Any) -> list[int]:
    """Return the numbers in a tree in its own order, a dict's in that of its entries."""
    inside = children(tree)
    if inside is None:
        return [tree.index] if isinstance(tree, _Number) else []
    return [number for child in inside.values() for number in _numbers(child)]


def _pair(template: Any, tree: Any, found: dict[int, int]) -> None:
    """Fill `found` with {number in `template`: number in `tree`}; both hold as many."""
    partners = _entries(template, tree)
    if partners is None:
        found.update(zip(_numbers(template), _numbers(tree), strict=True))
        return
    for one, other in partners:
        _pair(one, other, found)


def _entries(template: Any, tree: Any) -> list[tuple[Any, Any]] | None:
    """Return the entries that hold tensors, paired; None where two trees do not hold the same."""
    held = [
        {name: entry for name, entry in (children(each) or {}).items() if _numbers(entry)}
        for each in (template, tree)
    ]
    left, right = held
    if not left or len(left) != len(right):
        return None
    if left.keys() == right.keys():
        pairs = [(left[name], right[name]) for name in left]
    else:
        pairs = list(zip(left.values(), right.values(), strict=True))
    fit = all(len(_numbers(one)) == len(_numbers(other)) for one, other in pairs)
    return pairs if fit else None


def _alike(template: Any, tree: Any) -> bool:
    """Tell whether code that takes `tree` takes `template`, and both are visited in one order."""
    theirs, ours = children(template), children(tree)
    if theirs is None or ours is None:
        return theirs is ours
    if type(tree) in (dict, OrderedDict):
        same = isinstance(template, Mapping) and theirs.keys() == ours.keys()
        return same and all(_alike(theirs[name], ours[name]) for name in ours)
    if type(tree) in (tuple, list):
        same = isinstance(template, (tuple, list))
    else:  # whose entries may be asked for by name
        same = type(template).__name__ == type(tree).__name__ and list(theirs) == list(ours)
    return same and len(theirs) == len(ours) and all(map(_alike, theirs.values(), ours.values()))
