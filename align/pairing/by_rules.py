"""Pairs layers under other paths: by rules, by tensors, by children."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from align.pairing.tensors import ancestors

if TYPE_CHECKING:
    from convert.names.rules import Rules


def renamed_paths(
    modules: Mapping[str, Sequence[str]],
    tensors: Iterable[str],
    rules: "Rules",
    port: Iterable[str] = (),
) -> tuple[dict[str, list[str]], set[str]]:
    """Return where `rules` lead the reference's modules, and which of them by content alone.

    The first is {first path: the port's paths}. Rules for tensors say it of the layers that hold
    them. Of others a rename that matches "path." (a module's path and a dot) says it outright; a
    container is where its children are, a layer without tensors where its container is. Where all
    of its children are called otherwise, it is the one of the port's paths `port` that holds just
    the same layers. What two modules claim is nobody's, and containers that do not hold the same
    layers have no partner.
    """
    every = [path for paths in modules.values() for path in paths]
    places = _said_outright(every, rules)
    found = _by_tensors(tensors, rules)
    places |= {path: min(held) for path, held in found.items() if len(held) == 1}
    containers = _by_children(every, places, found)
    known = _of_same_content({**containers, **places}, found)
    alike = _by_content(every, port, found, known)
    places |= alike
    known |= alike
    for path in sorted(every, key=lambda p: p.count(".") + bool(p)):
        above, _, name = path.rpartition(".")
        around = places.get(above)
        if path in containers:
            places.setdefault(path, containers[path])
        elif path not in places and path not in found and around is not None:
            places[path] = f"{around}.{name}" if around else name
    others = {path: at for path, at in places.items() if path not in known}
    places = {path: places[path] for path in known} | _of_same_content(others, found)
    owners: dict[str, set[str]] = {}
    for first, paths in modules.items():
        for path in paths:
            if path in places:
                owners.setdefault(places[path], set()).add(first)
    led = {
        first: [places[p] for p in paths if p in places and len(owners[places[p]]) == 1]
        for first, paths in modules.items()
    }
    return led, {path for path in alike if path in places}


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


def _of_same_content(places: Mapping[str, str], found: Mapping[str, set[str]]) -> dict[str, str]:
    """Return those of {path: the port's place} that hold the same of the layers in `found`."""

    def is_same(path: str, place: str) -> bool:
        inside, there = f"{path}." if path else "", f"{place}." if place else ""
        return all(
            layer.startswith(inside) == at.startswith(there)
            for layer, held in found.items()
            for at in held
        )

    return {path: place for path, place in places.items() if is_same(path, place)}


def _by_content(
    paths: Iterable[str],
    port: Iterable[str],
    found: Mapping[str, set[str]],
    known: Mapping[str, str],
) -> dict[str, str]:
    """Return {container: the port's container of just the same layers}, of those not in `known`.

    Of containers within each other that hold the same layers, the outermost is the outermost's.
    """
    partner = {layer: next(iter(held)) for layer, held in found.items() if len(held) == 1}
    taken = set(known.values())
    theirs = _by_layers((p for p in paths if p not in known and p not in found), partner)
    ours = _by_layers((p for p in port if p not in taken), partner.values())
    pairs: dict[str, str] = {}
    for layers, chain in theirs.items():
        there = ours.get(frozenset(partner[layer] for layer in layers), [])
        pairs |= dict(zip(chain, there, strict=False))
    return pairs


def _by_layers(paths: Iterable[str], layers: Iterable[str]) -> dict[frozenset[str], list[str]]:
    """Return {layers of `layers`: the paths that hold just these, the outermost first}."""
    inside: dict[str, set[str]] = {path: set() for path in paths if path}
    for layer in layers:
        for path in ancestors(layer)[:-1]:
            if path in inside:
                inside[path].add(layer)
    held: dict[frozenset[str], list[str]] = {}
    for path in sorted(inside, key=lambda path: path.count(".")):
        if inside[path]:
            held.setdefault(frozenset(inside[path]), []).append(path)
    return held


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
