"""Which functions of the reference the traced forwards replace, and what of them fails."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from port.calls import NoSpelling
from port.source import FUNCTIONS, Source
from port.trace.forward import forward_of
from port.trace.graph import Place, TracedClass, TraceError


@dataclass
class Traced:
    """The classes whose forward is written from graphs.

    classes: by their definitions; forwards: those of them that stood in the source; left: functions
    that only they ran through; failed: (class, why) of the others.
    """

    classes: dict[ast.AST, TracedClass] = field(default_factory=dict)
    forwards: dict[ast.AST, TracedClass] = field(default_factory=dict)
    left: set[ast.AST] = field(default_factory=set)
    places: set[Place] = field(default_factory=set)
    failed: list[tuple[str, str]] = field(default_factory=list)


def chosen(classes: Sequence[TracedClass], sources: Mapping[str, Source]) -> Traced:
    """Return what is to be written from graphs.

    A line is taken as replaced where every class that reached it has a forward from its graph.
    """
    found = Traced()
    refused: set[Place] = set()
    for one in classes:
        definition = _definition(sources.get(one.module), one.name)
        why = "it is not in the files that are ported" if definition is None else _refused(one)
        if definition is None or why:
            found.failed.append((f"{one.module}.{one.name}", why))
            refused |= one.reached
            continue
        found.classes[definition] = one
        own = [node for node in definition.body if isinstance(node, ast.FunctionDef)]
        found.forwards |= {node: one for node in own if node.name == "forward"}
    found.places = {place for one in found.classes.values() for place in one.reached} - refused
    for source in sources.values():
        here = {line for file, line in found.places if file == str(source.record.path)}
        if here:
            found.left |= _functions_at(source, here) - found.forwards.keys()
    return found


def _refused(one: TracedClass) -> str:
    try:
        forward_of(one, lambda spelled: spelled.text)
    except (TraceError, NoSpelling) as error:
        return str(error)
    return ""


def _definition(source: Source | None, name: str) -> ast.ClassDef | None:
    place: ast.AST | None = None if source is None else source.tree
    for part in name.split("."):
        body = getattr(place, "body", ())
        place = next((n for n in body if isinstance(n, ast.ClassDef) and n.name == part), None)
    return place if isinstance(place, ast.ClassDef) else None


def _functions_at(source: Source, lines: set[int]) -> set[ast.AST]:
    """Return the outermost functions that the lines stand in."""
    found: set[ast.AST] = set()
    waiting: list[ast.AST] = [source.tree]
    while waiting:
        for child in ast.iter_child_nodes(waiting.pop()):
            if isinstance(child, FUNCTIONS):
                if any(child.lineno <= line <= (child.end_lineno or 0) for line in lines):
                    found.add(child)
            else:
                waiting.append(child)
    return found
