"""Writes into a tensor that something reads afterwards, for ops of Paddle that make a new one."""

import ast
from collections.abc import Collection, Iterator, Mapping

from port.record.facts import Place, Record
from port.record.instrument import span_of
from port.source import Source

_LOOPS = ast.For | ast.While


def read_later(source: Source, node: ast.AST, names: Collection[str]) -> list[str]:
    """Return those of `names` that the function around `node` reads after it, before it is set.

    Names that the statement itself sets do not count.
    """
    function = source.function_around(node)
    if function is None:
        return []
    around = list(_around(source, node, function))
    statement = next((one for one in around if isinstance(one, ast.stmt)), function)
    own = {n.id for n in _names(statement) if isinstance(n.ctx, ast.Store)}
    if isinstance(statement, ast.AugAssign):
        own |= {n.id for n in _names(statement.target)}
    loop = next((one for one in around if isinstance(one, _LOOPS)), None)
    return [
        name for name in sorted(names) if name not in own and _is_read(function, node, loop, name)
    ]


def written_and_read_later(source: Source) -> set[Place]:
    """Return what wrote into a tensor inside a call of this file that is read after the call.

    Calls of layers that write themselves are left out: there the port names the new tensor.
    """
    found: set[Place] = set()
    for node in ast.walk(source.tree):
        for one in source.record.calls.get(span_of(node), ()) if isinstance(node, ast.Call) else ():
            by_itself = bool(one.names) and one.returns_written
            if one.writers and not by_itself and read_later(source, node, one.aliases):
                found |= one.writers
    return found


def written_and_held(record: Record, sources: Mapping[str, Source]) -> set[Place]:
    """Return what wrote into a tensor that a list or a dict held, and that is read there later."""
    return {
        place
        for place, held in record.held.items()
        if any(_is_read_after(sources[module], line, name) for module, line, name in held)
    }


def _is_read_after(source: Source, line: int, name: str) -> bool:
    """Tell whether the function around a line reads a name later; "": an attribute, nobody knows.

    `held[i] = relu(held[i])` puts what it made where the old one stood.
    """
    if not name:
        return True
    statement = source.statement_at(line)
    function = None if statement is None else source.function_around(statement)
    if statement is None or function is None:
        return True
    if isinstance(statement, ast.Assign) and any(
        isinstance(one, ast.Subscript) and ast.unparse(one.value) == name
        for one in statement.targets
    ):
        return False
    around = _around(source, statement, function)
    loop = next((one for one in around if isinstance(one, _LOOPS)), None)
    return _is_read(function, statement, loop, name)


def _around(source: Source, node: ast.AST, function: ast.AST) -> Iterator[ast.AST]:
    place = node
    while place is not function:
        yield place
        place = source.parents[place]


def _is_read(function: ast.AST, node: ast.AST, loop: ast.AST | None, name: str) -> bool:
    end = _end(node)
    after = [use for use in _uses(function, name) if use[0] >= end]
    again = _uses(loop, name) if loop is not None else []
    return next((reads for _, reads in [*after, *again]), False)


def _uses(node: ast.AST, name: str) -> list[tuple[tuple[int, int], bool]]:
    """Return (place, whether it is read there) of each use of a name, as Python comes to them."""
    found: dict[ast.Name, tuple[tuple[int, int], bool]] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id == name:
            found.setdefault(part, (_start(part), isinstance(part.ctx, ast.Load)))
        elif isinstance(part, ast.Assign):  # what is assigned is worked out first
            for target in part.targets:
                found |= {one: (_end(part), False) for one in _stored(target, name)}
        elif isinstance(part, ast.AugAssign):
            found |= {one: (_start(part), True) for one in _stored(part.target, name)}
    return sorted(found.values())


def _stored(target: ast.AST, name: str) -> list[ast.Name]:
    return [n for n in _names(target) if n.id == name and isinstance(n.ctx, ast.Store)]


def _names(node: ast.AST | None) -> list[ast.Name]:
    return [] if node is None else [n for n in ast.walk(node) if isinstance(n, ast.Name)]


def _start(node: ast.AST) -> tuple[int, int]:
    return node.lineno, node.col_offset  # type: ignore[attr-defined]


def _end(node: ast.AST) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]
