"""What stands in a port instead of a library's machinery: a few lines of ours, under its names.

`helpers/libraries/<package>_*_paddle.py` hold them. A library that has such files is followed by
names alone: its functions that ran are kept where something refers to them, and its classes that
ran.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, cached_property

from port.helpers import HERE
from port.record.facts import FileRecord
from port.source import FUNCTIONS, Source

_OURS = "port.helpers"
_LIBRARIES = ("transformers",)


def is_followed(record: FileRecord) -> bool:
    """Tell whether a file is of a library that is followed by names alone.

    A folder of the user's may have the name of one.
    """
    return record.library and record.module.partition(".")[0] in _LIBRARIES


class Ours(Source):
    """Our definitions, as a file that stands beside one of the library's.

    Nothing of it ran: a method stays where it is selected, or where Python calls it by its name.
    """

    def __init__(self, record: FileRecord, files: Mapping[str, FileRecord]) -> None:
        ours = replace(record, calls={}, values={}, written={})
        super().__init__(replace(ours, ran=set(), at_work=set(), names={}), files)
        self.definitions = _by_name(self.tree)

    @cached_property
    def text(self) -> bytes:
        """Return our files as one."""
        return _text(self.module).encode()

    @cached_property
    def imported(self) -> dict[str, str]:
        """Return the imports of the file by the names that they bind, of frameworks and Python."""
        lines: dict[str, str] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                start = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
                for one in node.names:
                    lines[one.asname or one.name] = f"{start}import {ast.unparse(one)}"
        return lines

    def needs(self, names: set[str]) -> tuple[set[str], set[str]]:
        """Return (import lines, helpers) that names of the file stand for."""
        used = {name: self.imported[name] for name in names & self.imported.keys()}
        helpers = {name for name, line in used.items() if _OURS in line}
        return {line for name, line in used.items() if name not in helpers}, helpers

    def note(self, name: str) -> str:
        """Return what PORT.md says of a definition."""
        definition = self.definitions[name]
        documented = isinstance(definition, ast.ClassDef | FUNCTIONS)
        told = (ast.get_docstring(definition) or "") if documented else ""  # type: ignore[arg-type]
        return f"`{name}` is not the library's own: {' '.join(told.split()) or 'it is shorter'}"

    def ran(self, body: list[ast.stmt]) -> bool:
        """Tell whether a block is a method that Python calls by its name."""
        around = self.parents.get(body[0])
        return isinstance(around, FUNCTIONS) and around.name.startswith("__")

    def did_run(self, node: ast.AST) -> bool:
        """Follow all that is kept."""
        return True


def _text(module: str) -> str:
    files = sorted((HERE / "libraries").glob(f"{module.partition('.')[0]}_*_paddle.py"))
    return "".join(one.read_text("utf-8") for one in files)


@cache
def _parsed(text: str) -> Mapping[str, ast.stmt]:
    return _by_name(ast.parse(text))


def has_instead(record: FileRecord, name: str) -> bool:
    """Tell whether a definition of ours stands for a name of a library's file."""
    return is_followed(record) and name in _parsed(_text(record.module))


def _by_name(tree: ast.Module) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef | FUNCTIONS):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


def without_hints(text: str) -> str:
    """Return a text without comments that are for tools that check this program."""
    return re.sub("  # (type: ignore|noqa).*", "", text)
