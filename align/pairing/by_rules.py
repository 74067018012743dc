"""Pairs layers under other paths: by rules, by tensors, by children."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convert.names.rules import Rules


def renamed_paths(
    modules: Mapping[str, Sequence[str]], tensors: Iterable[str], rules: "Rules"
) -> dict[str, list[str]]:
    """Return {first path: the port's paths} of the reference's modules, as `rules` lead to them.

    Rules for tensors say it of the layers that hold them. Of others a rename that matches "path."
    (a module's path and a dot) says it outright; a container is where its children are, a layer
    without tensors where its container is. What two modules claim is nobody's, and containers that
    do not hold the same layers have no partner.
    """
    every = [path for paths in modules.values() for path in paths]
    places = _said_outright(every, rules)
    found = _by_tensors(tensors, rules)
    places |= {path: min(held) for path, held in found.items() if len(held) == 1}
    containers = _by_children(every, places, found)
    for path in sorted(every, key=lambda p: p.count(".") + bool(p)):
        above, _, name = path.rpartition(".")
        around = places.get(above)
        if path in containers:
            places.setdefault(path, containers[path])
        elif path not in places and path not in found and around is not None:
            places[path] = f"{around}.{name}" if around else name
    places = {path: at for path, at in places.items() if _same_content(path, at, found)}
    owners: dict[str, set[str]] = {}
    for first, paths in modules.items():
        for path in paths:
            if path in places:
                owners.setdefault(places[path], set()).add(first)
    return {
        first: [places[p] for p in paths if p in places and len(owners[places[p]]) == 1]
        for first, paths in modules.items()
    }


def _said_outright(paths: Iterable[str], rules: "Rules") -> dict[str, str]:
    found = {"": ""}
    for path in paths:
        name = f"{path}."
        for rename in rules.renames:
            name = rename.apply(name)
        if path and name != f"{path}.":
            found[path] = name.removesuffix(".")
    return found


def _by_tensors(tensors: Iterable[str], rules: "Rules") -> dict[str, set[str]]:
    """Return {layer: the port's layers that hold its tensors}."""
    from convert.names.rules import resolve

    names = resolve(tensors, rules)
    keys = {**names.sources, **{name: key for name, (key, _) in names.pieces.items()}}
    places: dict[str, set[str]] = {}
    for name, key in keys.items():
        places.setdefault(key.rpartition(".")[0], set()).add(name.rpartition(".")[0])
    return places


def _same_content(path: str, place: str, found: Mapping[str, set[str]]) -> bool:
    """Tell whether `path` and the port's `place` hold the same of the layers in `found`."""
    inside, there = f"{path}." if path else "", f"{place}." if place else ""
    return all(
        layer.startswith(inside) == at.startswith(there)
        for layer, held in found.items()
        for at in held
    )


def _by_children(
    paths: Iterable[str], places: Mapping[str, str], tensors: Mapping[str, set[str]]
) -> dict[str, str]:
    """Return {container: the one path under which all its children of unchanged name are}.

    A layer whose tensors go to several layers (a packed projection) has no partner; the container
    of these is that of the layer.
    """
    votes: dict[str, set[str]] = {}
    found: dict[str, str] = {}
    for path in sorted(paths, key=lambda p: -p.count(".") - bool(p)):
        above, _, name = path.rpartition(".")
        place = places.get(path)
        if place is None and len(votes.get(path, ())) == 1:
            place = found[path] = next(iter(votes[path]))
        if not above:
            continue
        if place is not None:
            parent, _, last = place.rpartition(".")
            if last == name:
                votes.setdefault(above, set()).add(parent)
        elif path in tensors:
            parents = {held.rpartition(".")[0] for held in tensors[path]}
            if len(parents) == 1:
                votes.setdefault(above, set()).update(parents)
    return found
