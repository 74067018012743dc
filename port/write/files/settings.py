"""Which files of settings come along into the port."""

import ast
from collections.abc import Mapping, Set
from pathlib import Path

from port.calls import SourceLine
from port.cut.cut import Cut
from port.record.facts import Record
from port.source import Source
from port.write.files.places import beside, file_of, written_name
from port.write.gaps import Gap

REASON = "settings that are read as they stand cannot use it in the port"
_OURS = frozenset({"__init__.py", "builder.py", "torch_calls.py", "port.json"})  # of every port


def settings_beside(
    record: Record, cut: Cut, sources: Mapping[str, Source]
) -> tuple[dict[str, Path], list[Gap]]:
    """Return {place in the port: file} of those that stand beside its modules, and are read there.

    Code of the port reads one where it holds all lines by which the reference came to read it. Of
    Python's those that need what the port replaces are gaps; modules stand there as they are
    ported.
    """
    found: dict[str, Path] = {}
    gaps: list[Gap] = []
    files = [record.files[module] for module in cut.modules]
    modules = {file.path for file in record.files.values()}
    taken = {file_of(written_name(file), file.is_package) for file in files} | _OURS
    for path, readers in record.settings.items():
        held = path not in modules and all(
            _holds(cut, sources.get(module), line) for module, line in readers
        )
        place = beside(path, files) if held else None
        if place is None or place in taken:
            continue
        found[place] = path
        if path.suffix == ".py":
            gaps += _needed(path, {name.partition(".")[0] for name in record.files})
    return {place: path for place, path in found.items() if not _has(gaps, path)}, gaps


def _has(gaps: list[Gap], path: Path) -> bool:
    return any(gap.where.file == path for gap in gaps)


def _needed(path: Path, replaced: Set[str]) -> list[Gap]:
    """Return the places at which settings need torch, or what the port has in another place."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []  # a text with marks to fill in
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        elif isinstance(node, ast.Name) and node.id == "torch":
            names = [node.id]
        for name in names:
            top = name.partition(".")[0]
            if top in {"", "torch"} | replaced:
                where = SourceLine(path, node.lineno)  # type: ignore[attr-defined]  # has a place
                found.append(Gap(where, name, REASON, True))
    return found


def _holds(cut: Cut, source: Source | None, line: int) -> bool:
    if source is None or source.module not in cut.modules:
        return False
    around = [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return bool(around) and cut.holds(source, around[-1])
