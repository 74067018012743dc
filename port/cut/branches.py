"""Branches at the top of a library's file: what torch has, which version, which package is there.

Which one runs is known as the file was imported. Asked of Paddle, the question may go otherwise.
"""

import ast
from collections.abc import Sequence

from port.source import Source


def taken(source: Source, node: ast.AST | None) -> Sequence[ast.stmt]:
    """Return the block of an `if` that ran and stands in its place; () where it stays as it is."""
    if not isinstance(node, ast.If) or not source.record.library:
        return ()
    if not isinstance(source.parents.get(node), ast.Module):
        return ()
    if not node.orelse and not any(isinstance(one, ast.Call) for one in ast.walk(node.test)):
        return ()
    block = _ran(source, node)
    return () if any(_is_long_text(part) for one in block for part in ast.walk(one)) else block


def not_taken(source: Source, node: ast.AST | None) -> Sequence[ast.AST]:
    """Return what of an `if` is not in the port, as another block stands in its place."""
    while isinstance(node, ast.If) and isinstance(parent := source.parents.get(node), ast.If):
        if node not in parent.orelse:
            break
        node = parent
    block = taken(source, node)
    return _beside(node, block) if block else ()  # type: ignore[arg-type]  # an `if`


def _beside(node: ast.If, block: Sequence[ast.stmt]) -> list[ast.AST]:
    """Return the test and the blocks of an `if` and its `elif`s without one of the blocks."""
    if block is node.body:
        return [node.test, *node.orelse]
    further = node.orelse[0]
    beside = [] if block is node.orelse else _beside(further, block)  # type: ignore[arg-type]  # `elif`
    return [node.test, *node.body, *beside]


def _ran(source: Source, node: ast.If) -> Sequence[ast.stmt]:
    if source.ran(node.body):
        return node.body
    rest = node.orelse
    if len(rest) == 1 and isinstance(rest[0], ast.If) and source.segment(rest[0])[:4] == "elif":
        return _ran(source, rest[0])
    return rest if rest and source.ran(rest) else ()


def _is_long_text(node: ast.AST) -> bool:
    """Tell whether a text on several lines stands in a statement: moved left, it is another.

    What documents a definition may move.
    """
    parts = ast.iter_child_nodes(node) if not isinstance(node, ast.Expr) else ()
    texts = (one for one in parts if isinstance(one, ast.Constant | ast.JoinedStr))
    return any(one.lineno != one.end_lineno for one in texts)
