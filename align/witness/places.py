"""Which tensors of a graph are what a module is given and what it returns."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from align.witness.graph import Graph, Node

if TYPE_CHECKING:
    from convert.names.rules import Rules

Known = Callable[[str], bool]
Scope = tuple[str, str]  # (module, what the graph calls this call of it)
REPEATED = re.compile(r"(.+?)(?:_|@)(\d+)")
NORM = "BatchNormalization"


@dataclass(frozen=True)
class ModuleCall:
    """One call of one module, as the graph has it.

    Attributes:
        module: its path in the net that was exported.
        call: its number, from 0.
        source: the tensor that arrives, None where the graph does not tell which it is.
        output: the tensor that leaves, None where the graph has it not.
    """

    module: str
    call: int
    source: str | None
    output: str | None


def places_of(graph: Graph, known: Known) -> list[ModuleCall]:
    """Return the calls of which the graph tells one tensor that leaves, in its order.

    known: whether a path is one of a module. A module of several outputs, or of none that
    anything reads, has no place.
    """
    calls: dict[Scope, list[Node]] = {}
    for node in graph.nodes:
        for scope in modules_around(node, known):
            calls.setdefault(scope, []).append(node)
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    numbers: dict[str, int] = {}
    found = []
    for (module, _), nodes in calls.items():
        number = numbers[module] = numbers.get(module, -1) + 1
        place = _place(graph, module, number, nodes, readers)
        if place is not None:
            found.append(place)
    return found


def modules_around(node: Node, known: Known) -> list[Scope]:
    """Return the modules that a node is inside of, the outermost first, each with its call."""
    found: list[Scope] = []
    key = ""
    for scope in node.scopes:
        path = _module_of(scope, [module for module, _ in found], node.dotted, known)
        if path is None:
            break
        key = f"{key}/{scope}"
        found.append((path, key))
    return found


def _module_of(scope: str, around: Sequence[str], dotted: bool, known: Known) -> str | None:
    """Return the module that a scope is, None where it is none that is known.

    torch names a child of a container with the container's name: "layer1/layer1.0/conv"; and a
    second call of a module with a number behind: "relu_1".
    """
    repeated = REPEATED.fullmatch(scope)
    inside = f"{around[-1]}." if around else ""
    for name in [scope, *([repeated[1]] if repeated else [])]:
        above = [""] if dotted else [*reversed(around), ""]
        for path in (f"{module}.{name}".lstrip(".") for module in above):
            if path.startswith(inside) and path != inside.rstrip(".") and known(path):
                return path
    return None


def paths_named(graph: Graph) -> list[str]:
    """Return every path that the names in a graph may mean: what `known` may be asked for."""
    found: dict[str, None] = {}
    for node in graph.nodes:
        around: list[str] = []
        for scope in node.scopes:
            path = _merged(around[-1] if around else "", scope, node.dotted)
            found[path] = None
            if repeated := REPEATED.fullmatch(path):
                found[repeated[1]] = None
                path = path if node.dotted else repeated[1]
            around.append(path)
    return list(found)


def _merged(around: str, scope: str, dotted: bool) -> str:
    last = around.rpartition(".")[2]
    for end in (around, last):
        if end and scope.startswith(f"{end}."):
            return around.removesuffix(end) + scope
    return scope if dotted or not around else f"{around}.{scope}"


def _place(
    graph: Graph, module: str, number: int, nodes: Sequence[Node], readers: Mapping[str, list[Node]]
) -> ModuleCall | None:
    made = {name for node in nodes for name in node.outputs}
    inside = set(map(id, nodes))

    def leaves(name: str) -> bool:
        outside = (id(node) not in inside for node in readers.get(name, ()))
        return name in graph.outputs or any(outside)

    left = [name for name in made if leaves(name)]
    if len(left) != 1 or left[0] in graph.constants:
        return None
    taken = {name for node in nodes for name in node.inputs} - made - graph.constants
    source = next(iter(taken)) if len(taken) == 1 else None
    return ModuleCall(module, number, source, left[0])


def folded(
    graph: Graph, places: Iterable[ModuleCall], followers: Mapping[str, str]
) -> tuple[list[ModuleCall], dict[str, str]]:
    """Return the places as they are where convolutions hold a BatchNorm, which has no node then.

    What such a convolution gives is what the BatchNorm gives. followers: {a BatchNorm: the layer
    whose output it normalises}, in the graph's names. The second is {BatchNorm: that layer}, of
    those that are folded.
    """
    places = list(places)
    told = {place.module for place in places}
    apart = {name for node in graph.nodes if node.kind == NORM for name in node.inputs}
    norms = {layer: norm for norm, layer in followers.items() if norm not in told}
    moved = {
        norms[place.module]: place
        for place in places
        if place.module in norms and place.output not in apart
    }
    found = [_beside(place, moved) for place in places]
    found += [replace(place, module=norm, source=None) for norm, place in moved.items()]
    return found, {norm: place.module for norm, place in moved.items()}


def _beside(place: ModuleCall, moved: Mapping[str, ModuleCall]) -> ModuleCall:
    """Return a place without what stands in front of a folded BatchNorm, which the graph lacks."""
    for norm, convolution in moved.items():
        has_norm, has_convolution = _holds(place, norm), _holds(place, convolution.module)
        if has_convolution and not has_norm and place.output == convolution.output:
            place = replace(place, output=None)
        if has_norm and not has_convolution and place.source == convolution.output:
            place = replace(place, source=None)
    return place


def _holds(place: ModuleCall, module: str) -> bool:
    return f"{module}.".startswith(f"{place.module}.")


def to_port(
    named: Sequence[str],
    keys: Iterable[str],
    rules: "Rules | None",
    port: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    """Return {path in the graph: first path of the port's layer that stands for it}.

    named: of the graph. keys: names of the reference's tensors, where they are known. port: {first
    path: all paths} of the port's layers.
    """
    first = {path: every[0] for every in port.values() for path in every}
    if rules is None:
        return first
    from align.pairing.by_rules import renamed_paths

    modules: dict[str, Any] = {path: [path] for path in ("", *named)}
    led, _ = renamed_paths(modules, keys, rules, first)
    return {path: first[at[0]] for path, at in led.items() if len(at) == 1 and at[0] in first}
