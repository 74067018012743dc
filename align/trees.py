"""What a layer takes and returns: tensors in tuples, lists, dicts, dataclasses, nested."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


def map_leaves(tree: Any, function: Callable[[Any], Any]) -> Any:
    """Return a tree of the same types with `function(leaf)` in place of every leaf.

    Leaves are visited in one fixed order: by position, in mappings by the key's text, so that
    two trees whose dicts were filled in another order visit the same leaves.
    """
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_leaves(value, function) for value in tree))
    if type(tree) in (tuple, list):
        return type(tree)(map_leaves(value, function) for value in tree)
    if isinstance(tree, Mapping):
        changed = {key: map_leaves(tree[key], function) for key in sorted(tree, key=str)}
        result: Any = copy.copy(tree)
        for key in tree:
            result[key] = changed[key]
        return result
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        result = copy.copy(tree)
        for field in dataclasses.fields(tree):
            value = map_leaves(getattr(tree, field.name), function)
            object.__setattr__(result, field.name, value)
        return result
    return function(tree)


def leaves(tree: Any) -> list[Any]:
    """Return the leaves of `tree` in the order of `map_leaves`."""
    found: list[Any] = []

    def keep(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    map_leaves(tree, keep)
    return found


def is_plain(value: Any) -> bool:
    """Tell whether an argument is None, a number or text of Python's: passed on as it is."""
    return value is None or type(value) in (bool, int, float, complex, str)
