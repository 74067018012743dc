"""Says at the head of a file of a library where it comes from, and that it was changed."""

import ast
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from port.record.facts import FileRecord

_CHANGES = "calls of torch rewritten,\n# what the net does not need left out."


def with_origin(text: str, record: FileRecord) -> str:
    """Return a file's text with a note of its origin below its licence; an empty one stays so."""
    if not text.strip():
        return text
    package = record.module.partition(".")[0]
    version = version_of(package, _place_of(record))
    note = f"# Ported to PaddlePaddle from {package}{version and ' '}{version}: {_CHANGES}\n"
    lines = text.splitlines(keepends=True)
    place = _below_head(text, lines)
    lines.insert(place, note if place else f"{note}\n")
    return "".join(lines)


def _below_head(text: str, lines: list[str]) -> int:
    """Return the number of the line behind the comments, or else the docstring, of the head."""
    comments = next((n for n, one in enumerate(lines) if not one.startswith("#")), len(lines))
    first = ast.parse(text).body[:1]
    if comments or not first or not isinstance(first[0], ast.Expr):
        return comments
    value = first[0].value
    documented = isinstance(value, ast.Constant) and isinstance(value.value, str)
    return (value.end_lineno or 0) if documented else 0


def _place_of(record: FileRecord) -> Path:
    """Return the folder that a library is installed in."""
    depth = len(record.module.split("."))
    return record.path.parents[depth if record.is_package else depth - 1]


@cache
def version_of(package: str, place: Path) -> str:
    """Return the version of an installed package, "" where nothing tells it."""
    found = list(distributions(path=[str(place)]))
    for one in found:
        if (one.name or "").replace("-", "_").lower() == package.lower():
            return one.version
    for one in found:
        if package in (one.read_text("top_level.txt") or "").split():
            return one.version
    return ""
