"""What a layer takes and returns: tensors in tuples, lists, dicts, dataclasses, objects, nested."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakSet


def map_leaves(tree: Any, function: Callable[[Any], Any]) -> Any:
    """Return a tree of the same types with `function(leaf)` in place of every leaf.

    Leaves are visited in one fixed order: by position, in mappings by the key's text, so that
    two trees whose dicts were filled in another order visit the same leaves.
    """
    kind = _kind(tree)
    if kind == "leaf":
        return function(tree)
    if kind == "named":
        return type(tree)._make(map_leaves(value, function) for value in tree)  # no own __new__
    if kind == "sequence":
        return type(tree)(map_leaves(value, function) for value in tree)
    if kind == "mapping":
        changed = {key: map_leaves(tree[key], function) for key in sorted(tree, key=str)}
        result: Any = copy.copy(tree)
        for key in tree:
            result[key] = changed[key]
        return result
    if kind == "object":
        result = object.__new__(type(tree))
        held = {name: map_leaves(vars(tree)[name], function) for name in sorted(vars(tree))}
        vars(result).update({name: held[name] for name in vars(tree)})
        return result
    result = copy.copy(tree)
    for field in dataclasses.fields(tree):
        value = map_leaves(getattr(tree, field.name), function)
        object.__setattr__(result, field.name, value)
    return result


def _kind_of(of: type) -> str:
    """Return what a value of the type `of` is in a tree."""
    if issubclass(of, tuple) and hasattr(of, "_fields"):
        return "named"
    if of in (tuple, list):
        return "sequence"
    if issubclass(of, Mapping):
        return "mapping"
    return "dataclass" if dataclasses.is_dataclass(of) and not issubclass(of, type) else "leaf"


_kind_of_type: Callable[[Any], str] = lru_cache(maxsize=1024)(_kind_of)
# Classes of which an object held tensors and nothing that is not data, as DETR's NestedTensor.
_holders: "WeakSet[type]" = WeakSet()
_APART = frozenset(("builtins", "torch", "paddle", "numpy", "align", "collections", "functools"))


def _kind(tree: Any) -> str:
    of: Any = type(tree)
    kind = _kind_of_type(of)
    if kind != "leaf" or not _may_hold(of):
        return kind
    if type(tree) not in _holders and _is_data(vars(tree)) and _has_array(vars(tree)):
        _holders.add(type(tree))
    return "object" if type(tree) in _holders else kind


@lru_cache(maxsize=1024)
def _may_hold(of: Any) -> bool:
    """Tell whether objects of a class of people's own may be no more than what they hold."""
    own = of.__module__.partition(".")[0] not in _APART
    plain = of.__new__ is object.__new__ and of.__dictoffset__ != 0
    acts = any("__call__" in vars(one) or vars(one).get("__slots__") for one in of.__mro__)
    return own and plain and not acts and not _is_array(of)


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _is_data(value: Any) -> bool:
    if type(value) in (tuple, list):
        return all(map(_is_data, value))
    if type(value) is dict:
        return all(isinstance(key, str) for key in value) and all(map(_is_data, value.values()))
    return is_plain(value) or (_is_array(value) and not isinstance(value, type))


def _has_array(value: Any) -> bool:
    if type(value) in (tuple, list):
        return any(map(_has_array, value))
    return any(map(_has_array, value.values())) if type(value) is dict else _is_array(value)


def leaves(tree: Any) -> list[Any]:
    """Return the leaves of `tree` in the order of `map_leaves`."""
    found: list[Any] = []

    def keep(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    map_leaves(tree, keep)
    return found


def children(tree: Any) -> dict[Any, Any] | None:
    """Return what a tree holds by key, field or position, in its own order; None of a leaf."""
    kind = _kind(tree)
    if kind == "leaf":
        return None
    if kind == "mapping":
        return dict(tree.items())
    if kind == "object":
        return {name: vars(tree)[name] for name in sorted(vars(tree))}
    if kind == "dataclass":
        names = [field.name for field in dataclasses.fields(tree)]
        return {name: getattr(tree, name) for name in names}
    return dict(zip(tree._fields, tree, strict=True) if kind == "named" else enumerate(tree))


def leaf_names(tree: Any, name: str = "") -> list[str]:
    """Return the keys, fields and positions that lead to each leaf, in the order of `leaves`.

    Joined by dots: "0.boxes"; "" of a tree that is a leaf.
    """
    inside = children(tree)
    if inside is None:
        return [name]
    keys = sorted(inside, key=str) if _kind(tree) == "mapping" else list(inside)
    return [found for key in keys for found in leaf_names(inside[key], f"{name}.{key}".lstrip("."))]


def is_plain(value: Any) -> bool:
    """Tell whether an argument is None, a number or text of Python's: passed on as it is."""
    return value is None or type(value) in (bool, int, float, complex, str)
