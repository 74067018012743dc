"""Which files of settings come along into the port."""

import ast
from collections.abc import Mapping
from pathlib import Path

from port.cut.cut import Cut
from port.record.facts import Record
from port.source import Source
from port.write.files.places import beside


def settings_beside(record: Record, cut: Cut, sources: Mapping[str, Source]) -> dict[str, Path]:
    """Return {place in the port: file} of those that stand beside its modules, and are read there.

    Code of the port reads one where it holds all lines by which the reference came to read it.
    """
    found = {}
    files = [record.files[module] for module in cut.modules]
    for path, readers in record.settings.items():
        held = all(_holds(cut, sources.get(module), line) for module, line in readers)
        place = beside(path, files) if held else None
        if place is not None:
            found[place] = path
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
