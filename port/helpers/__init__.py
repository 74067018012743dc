"""Functions that the port of a net takes along where Paddle has no exact spelling.

Each has torch's meaning and says why it is needed. `source_of` writes those that a port uses, and
what they use themselves, into one file.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
FILES = (
    "activations_paddle",
    "calls_paddle",
    "places_paddle",
    "layers_paddle",
    "cells_paddle",
    "containers_paddle",
    "first_weights_paddle",
    "modes_paddle",
    "pooling_norms_paddle",
    "numbers_paddle",
    "values_paddle",
    "weights_paddle",
)


@dataclass(frozen=True)
class Helper:
    """A helper: its source, its reason, and the names of helpers that it uses itself."""

    name: str
    source: str
    reason: str
    uses: frozenset[str]
    imports: frozenset[str]


@cache
def helpers() -> Mapping[str, Helper]:
    """Return {name: helper} in the order in which they are written."""
    found: dict[str, Helper] = {}
    for name in FILES:
        text = (HERE / f"{name}.py").read_text("utf-8")
        found |= {h.name: h for h in _helpers_of(text, set(found))}
    return found


def _helpers_of(text: str, earlier: set[str]) -> list[Helper]:
    tree = ast.parse(text)
    imports: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) and "port." not in ast.unparse(node):
            line = ast.unparse(node)
            imports |= {(alias.asname or alias.name): line for alias in node.names}
    kept = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Assign)]
    names = {_name(node) for node in kept} | earlier
    return [_helper(node, text, names, imports) for node in kept]


def _name(node: ast.FunctionDef | ast.ClassDef | ast.Assign) -> str:
    if isinstance(node, ast.Assign):
        target = node.targets[0]
        assert isinstance(target, ast.Name)
        return target.id
    return node.name


def _helper(
    node: ast.FunctionDef | ast.ClassDef | ast.Assign,
    text: str,
    names: set[str],
    imports: dict[str, str],
) -> Helper:
    source = ast.get_source_segment(text, node) or ""
    used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    reason = "" if isinstance(node, ast.Assign) else (ast.get_docstring(node) or "")
    lines = frozenset(line for name, line in imports.items() if name in used)
    return Helper(_name(node), source, reason, frozenset((used & names) - {_name(node)}), lines)


@cache
def helper_names() -> frozenset[str]:
    """Return the names of all helpers."""
    return frozenset(helpers())


def source_of(names: Iterable[str]) -> str:
    """Return the text of a file with these helpers and what they use; KeyError for another."""
    known, wanted, todo = helpers(), set[str](), list(names)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += known[name].uses
    chosen = [helper for name, helper in known.items() if name in wanted]
    plain = {line for helper in chosen for line in helper.imports}
    standard = sorted(line for line in plain if "paddle" not in line)
    frameworks = sorted(
        (x for x in plain if "paddle" in x), key=lambda x: (x.startswith("from"), x)
    )
    head = '"""Calls that Paddle has no exact spelling for, with PyTorch\'s meaning."""'
    parts = [head, "\n".join(standard), "\n".join(frameworks)]
    body = "\n\n\n".join(helper.source for helper in chosen)
    return "\n\n".join(filter(None, parts)) + f"\n\n\n{body}\n"
