"""Finds the state dict inside what a file holds; told what a tensor is, it needs no framework."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UnreadableError, UserError
from common.words.controls import in_one_line
from convert.formats.pickles.globals import Inert, NumpyArray
from convert.formats.recipes import for_list

IsTensor = Callable[[Any], bool]
# Of DistributedDataParallel, of torch.compile, of nets that are saved as a part of another.
PREFIXES = ("module.", "_orig_mod.", "backbone.")
# Of the attribute that holds the net in a LightningModule; such files say their version.
_LIGHTNING, _LIGHTNING_PREFIXES = "pytorch-lightning_version", ("model.", "net.")
# Entries that may hold tensors and are no weights, unless nothing else does.
_BESIDE = ("optim", "sched", "scaler", "rng", "random", "param_groups")
_DEPTH = 4


@dataclass(frozen=True)
class Found:
    """A state dict found inside a file.

    Attributes:
        tensors: name -> tensor, common prefixes removed.
        place: path of keys that leads to it, "" for the file itself.
        prefix: what was removed from every name.
        beside: what else the file holds, in words; it is not read.
    """

    tensors: dict[str, Any]
    place: str
    prefix: str
    beside: tuple[str, ...]

    def describe(self, second_names: int) -> str:
        """Say how it was found; `second_names` of its tensors are another's second name."""
        words = f"dict with key {self.place!r}" if self.place else "bare state dict"
        words += f", prefix {self.prefix!r} removed" if self.prefix else ""
        words += f", {len(self.tensors)} tensors"
        words += f" ({second_names} of them second names)" if second_names else ""
        return in_one_line(words + (f"; not read: {_some(self.beside)}" if self.beside else ""))


def find_state_dict(tree: Any, is_tensor: IsTensor, key: str | None, path: Path) -> Found:
    """Find the state dict inside the object `tree` read from `path`.

    Raises UnreadableError where it holds no tensor, UserError where the choice is the user's.
    """
    found = _candidates(tree, is_tensor)
    for other in (_with_arrays, _numbered):  # perhaps arrays of NumPy, perhaps lists of dicts
        if not found:
            tree = other(tree, {})
            found = _candidates(tree, is_tensor)
    if not found:  # or both
        tree = _with_arrays(tree, {})
        found = _candidates(tree, is_tensor)
    if not found:
        if isinstance(tree, (list, tuple)) and tree and all(map(is_tensor, tree)):
            raise UnreadableError(
                f"{path}: holds no state dict (names with tensors), but a list of {len(tree)} "
                f"tensors{for_list(path)}"
            )
        held = f"a dict with {_listed(tree)}" if isinstance(tree, Mapping) else _kind(tree)
        raise UnreadableError(f"{path}: holds no state dict (names with tensors), but {held}")
    place = _choose(found, key, path)
    inside = {name: _as_tensor(value) for name, value in found[place].items()}
    beside = _beside(tree, place, is_tensor) if place else []
    beside += [f"{name} ({_kind(v)})" for name, v in inside.items() if not is_tensor(v)]
    lightning = isinstance(tree, Mapping) and _LIGHTNING in tree
    prefixes = PREFIXES + (_LIGHTNING_PREFIXES if lightning else ())
    tensors, prefix = _strip({name: v for name, v in inside.items() if is_tensor(v)}, prefixes)
    return Found(tensors, place, prefix, tuple(beside))


def _candidates(tree: Any, is_tensor: IsTensor) -> dict[str, Mapping[str, Any]]:
    """Return {place: mapping} of the innermost mappings from strings to tensors."""
    found: dict[str, Mapping[str, Any]] = {}
    seen: set[int] = set()

    def visit(node: Any, place: str, depth: int) -> None:
        if not isinstance(node, Mapping) or id(node) in seen or depth > _DEPTH:
            return
        seen.add(id(node))
        before = len(found)
        items = [(name, value) for name, value in node.items() if isinstance(name, str)]
        for name, value in items:
            visit(value, f"{place}.{name}" if place else name, depth + 1)
        if len(found) == before and any(is_tensor(value) for _, value in items):
            found[place] = dict(items)

    visit(tree, "", 0)
    return found


def _choose(found: Mapping[str, Mapping[str, Any]], key: str | None, path: Path) -> str:
    listed = in_one_line(
        _some([f"{place or 'the file itself'} ({len(found[place])})" for place in found])
    )
    if key is not None:
        if key not in found:
            raise UserError(f"{path}: has no state dict {key!r}; it has (entries): {listed}")
        return key
    weights = [place for place in found if not any(word in place.lower() for word in _BESIDE)]
    places = weights or list(found)
    if len(places) > 1:
        raise UserError(
            f"{path}: holds {len(places)} state dicts (entries): {listed}; choose one with --key"
        )
    return places[0]


def _numbered(tree: Any, done: dict[int, Any], depth: int = 0) -> Any:
    """Return the tree with lists of dicts as dicts whose keys are "0", "1", ...

    `done` is {id: result} of what was met before.
    """
    if id(tree) in done or depth > _DEPTH:
        return done.get(id(tree), tree)
    done[id(tree)] = tree  # where it holds itself
    if isinstance(tree, Mapping):
        items = list(tree.items())
    elif isinstance(tree, (list, tuple)) and any(isinstance(v, (Mapping, list)) for v in tree):
        items = [(str(number), value) for number, value in enumerate(tree)]
    else:
        return tree
    done[id(tree)] = {key: _numbered(value, done, depth + 1) for key, value in items}
    return done[id(tree)]


def _with_arrays(tree: Any, done: dict[int, Any], depth: int = 0) -> Any:
    """Return the tree with NumPy's arrays as tensors; `done` as for `_numbered`."""
    if not isinstance(tree, Mapping) or depth > _DEPTH:
        return _as_tensor(tree)
    if id(tree) not in done:
        done[id(tree)] = tree
        made = {name: _with_arrays(value, done, depth + 1) for name, value in tree.items()}
        done[id(tree)] = made
    return done[id(tree)]


def _as_tensor(value: Any) -> Any:
    return value.stored if isinstance(value, NumpyArray) and value.stored else value


def _strip(tensors: dict[str, Any], prefixes: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """Remove prefixes that every name has; return what was removed too."""
    removed = ""
    while prefix := next((p for p in prefixes if all(name.startswith(p) for name in tensors)), ""):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
        removed += prefix
    return tensors, removed


def _beside(tree: Mapping[str, Any], place: str, is_tensor: IsTensor) -> list[str]:
    """Name the entries at the top of the file that do not lead to `place`."""
    return [
        f"{name} ({'tensor' if is_tensor(value) else _kind(value)})"
        for name, value in tree.items()
        if place != name and not place.startswith(f"{name}.")
    ]


def _kind(value: Any) -> str:
    return value.name if isinstance(value, Inert) else type(value).__name__


def _listed(tree: Mapping[Any, Any]) -> str:
    return _some([f"{name!r} ({_kind(value)})" for name, value in tree.items()]) or "no entries"


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else "")
