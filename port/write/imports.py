"""Imports of the port: torch's give way to Paddle's, those of ported modules become relative."""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

from port.cut.cut import Cut
from port.record.facts import Binding
from port.source import Source
from port.write.files.places import relative, written_name
from port.write.files.texts import DECORATOR, DROP

WIDTH = 88  # of a line
PLACE = "\x02"  # where the file's first import of torch stood
_PADDLES = {"einops.layers.torch": "einops.layers.paddle"}  # of libraries that know both
SHORT = {"F": "paddle.nn.functional", "nn": "paddle.nn"}
OF_TORCH = "torch_"  # in front of a helper whose name the file has for something of its own


class ImportWriter:
    """Writes the imports of one file."""

    def __init__(self, source: Source, cut: Cut) -> None:
        self.source, self.cut = source, cut
        self.name = written_name(source.record)
        self.renamed: dict[str, str] = {}  # helper -> its name here

    def written(self, node: ast.Import | ast.ImportFrom) -> str:
        """Return the text of an import, a mark where nothing of it stays."""
        at_top = isinstance(self.source.parents.get(node), ast.Module)
        if isinstance(node, ast.Import):
            return self._plain(node, at_top)
        module = self.source.imported_module(node)
        if module.partition(".")[0] == "torch":
            return PLACE if at_top else DROP
        if module == "__future__":  # annotations may name what is not there yet
            return self.source.segment(node)
        kept = [
            alias
            for alias in node.names
            if self._stays(alias, at_top)
            and not (at_top and self.source.is_handed_on(alias.asname or alias.name))
        ]
        if not kept:
            return DROP
        record = self.source.record
        homes = {
            alias.name: self.cut.home_of(
                module,
                alias.name,
                record.names.get(alias.asname or alias.name)
                if at_top
                else record.made_up.get((module, alias.name)),
            )
            for alias in kept
        }
        if set(homes.values()) != {module}:
            return self._from_homes(node, kept, homes)
        where = self._from(node, module)
        if where is None:
            if len(kept) == len(node.names) and module not in _PADDLES:
                return self.source.segment(node)
            where = _PADDLES.get(module) or "." * node.level + (node.module or "")
        return self._joined(node, where, kept)

    def _from_homes(
        self, node: ast.ImportFrom, kept: list[ast.alias], homes: dict[str, str]
    ) -> str:
        """Return an import for each name, from where it is made."""
        lines = [f"from {self._relative(homes[one.name])} import {_alias(one)}" for one in kept]
        return ("\n" + " " * node.col_offset).join(lines)

    def _joined(self, node: ast.ImportFrom, where: str, kept: list[ast.alias]) -> str:
        segment = self.source.segment(node)
        if len(kept) == len(node.names):
            return re.sub(r"^from\s+\S+", f"from {where}", segment, count=1)
        line = f"from {where} import {', '.join(map(_alias, kept))}"
        if node.col_offset + len(line) <= 100:
            return line
        indent = " " * node.col_offset
        inside = "".join(f"{indent}    {_alias(one)},\n" for one in kept)
        return f"from {where} import (\n{inside}{indent})"

    def _from(self, node: ast.ImportFrom, module: str) -> str | None:
        """Return what stands between `from` and `import`, None where it stays."""
        if module in self.source.files:
            if node.level and not self._crosses(module):
                return None
            return self._relative(module)
        inside = [f"{module}.{alias.name}" for alias in node.names]
        if not node.level and inside[0] in self.source.files:  # of a package without a file
            return self._relative(inside[0], around=True)
        return None

    def _crosses(self, module: str) -> bool:
        return self.source.files[module].library != self.source.record.library

    def _relative(self, module: str, around: bool = False) -> str:
        """Return how this file names a module, or the package around it."""
        record = self.source.record
        target = written_name(self.source.files[module])
        target = target.rpartition(".")[0] if around else target
        return relative(self.name, record.is_package, target)

    def _stays(self, alias: ast.alias, at_top: bool) -> bool:
        name = alias.asname or alias.name.partition(".")[0]
        return alias.name == "*" or not at_top or name in self.cut.names[self.source.module]

    def _plain(self, node: ast.Import, at_top: bool) -> str:
        lines, torchs = [], False
        for alias in node.names:
            if alias.name.partition(".")[0] == "torch":
                torchs = True
            elif self._stays(alias, at_top):
                lines.append(self._plain_line(alias))
        indent = "\n" + " " * node.col_offset
        if not lines:
            return PLACE if torchs and at_top else DROP
        return (f"{PLACE}\n" if torchs and at_top else "") + indent.join(lines)

    def _plain_line(self, alias: ast.alias) -> str:
        if alias.name not in self.source.files:
            return f"import {_alias(alias)}"
        target = written_name(self.source.files[alias.name])
        parent, _, last = target.rpartition(".")
        if alias.asname or not parent:
            where = relative(self.name, self.source.record.is_package, parent)
            return f"from {where} import {_as(last, alias.asname or alias.name)}"
        root = relative(self.name, self.source.record.is_package, "")
        first = alias.name.partition(".")[0]
        return f"from {root} import {_as(target.partition('.')[0], first)}"

    def all_names(self, node: ast.Assign) -> str:
        """Return `__all__` with the names that are kept; whole where code of the file reads it."""
        kept = self.cut.names[self.source.module]
        if not isinstance(node.value, ast.List | ast.Tuple) or self._reads_all_names():
            return self.source.segment(node)
        names = [one.value for one in node.value.elts if isinstance(one, ast.Constant)]
        return f"__all__ = {[name for name in names if name in kept]}".replace("'", '"')

    def _reads_all_names(self) -> bool:
        names = (one for one in ast.walk(self.source.tree) if isinstance(one, ast.Name))
        if not any(one.id == "__all__" and isinstance(one.ctx, ast.Load) for one in names):
            return False
        files = [self.cut.sources[name] for name in self.cut.modules]
        stars = [star for source in files for star in self.cut.stars(source)]
        return not any(m == self.source.module and one in self.cut.kept for one, m in stars)

    def without_clashes(self, text: str, helpers: frozenset[str]) -> str:
        """Return a spelling in which `F`, `nn` and helpers are no names of the file's own."""
        for name in filter(self.is_own, helpers):
            self.renamed[name] = f"{OF_TORCH}{name}"
            text = re.sub(rf"(?<![\w.]){name}(?=\(|$)", self.renamed[name], text)
        for short, full in SHORT.items():
            if self._is_taken(short, full):
                text = re.sub(rf"(?<![\w.]){short}\.(?=\w)", f"{full}.", text)
        return text

    def _is_taken(self, short: str, full: str) -> bool:
        bound: Any = self.source.record.names.get(short)
        if bound is None:
            return short in self.source.all_local_names
        theirs = full.replace("paddle", "torch")
        return not _is(bound, theirs) or short in self.source.all_local_names

    def is_own(self, helper: str) -> bool:
        """Tell whether the file has something of its own by the name of a helper."""
        bound: Any = self.source.record.names.get(helper)
        theirs = bound is None or any(name.startswith("torch.") for name in bound.names)
        return not theirs or helper in self.source.all_local_names

    def lines(self, imports: set[str], helpers: set[str]) -> list[str]:
        """Return the lines that stand where torch's imports stood."""
        found = set()
        for line in imports:
            short = line.split()[-1]
            taken = short in SHORT and self._is_taken(short, SHORT[short])
            found.add(f"import {SHORT[short]}" if taken else line)
        plain = sorted(line for line in found if "paddle" not in line)
        lines = sorted(found.difference(plain), key=lambda one: (not one.startswith("import"), one))
        lines = [*plain, "", *lines] if plain and lines else [*plain, *lines]
        if helpers:
            where = relative(self.name, self.source.record.is_package, "torch_calls")
            named = [_as(name, self.renamed.get(name, name)) for name in sorted(helpers)]
            lines.append(_import_from(where, named))
        return lines


def _is(bound: Binding, dotted: str) -> bool:
    return bound.value == dotted or dotted in bound.names


def _import_from(where: str, names: list[str]) -> str:
    """Return an import, a name a line where it would be wider than Black's line."""
    line = f"from {where} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"from {where} import (", *(f"    {name}," for name in names), ")"])


def _as(name: str, bound: str) -> str:
    """Return what an import binds: a library's package has another name in the port."""
    return name if name == bound else f"{name} as {bound}"


def _alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def import_lines(package: str, parts: Sequence[str], lent: Mapping[str, str]) -> str:
    """Return what imports modules of a package into it, and what it lends; nothing of none.

    package: its name in the port; lent: names that the reference's package makes up, and the
    modules of the port where they stand.
    """
    lines = [f"from . import {part}\n" for part in parts]
    lines += [f"from {relative(package, True, lent[one])} import {one}\n" for one in sorted(lent)]
    return "".join(lines)


def with_imports(text: str, lines: list[str]) -> str:
    """Return a file's text with `lines` in place of its first import of torch.

    Without one they stand behind the docstring and the imports `from __future__`.
    """
    block = "\n".join(lines)
    if PLACE in text and lines:
        text = text.replace(PLACE, block, 1)
        return text.replace(PLACE, DROP)
    text = text.replace(PLACE, DROP)
    if not lines:
        return text
    place = _behind_head(text)
    return text[:place] + block + "\n" + text[place:]


def _behind_head(text: str) -> int:
    """Return where the first statement stands that is neither docstring nor future import."""
    clean = re.sub(f"[\x00\x01{DECORATOR}]", "0", text)
    tree = ast.parse(clean)
    line = 1
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        imports = isinstance(node, ast.Import | ast.ImportFrom)
        zero = docstring and node.value.value == 0  # type: ignore[attr-defined]
        if not (docstring or future or imports) or zero:
            break
        line = (node.end_lineno or 0) + 1
    lines = text.splitlines(keepends=True)
    starts = [0]
    for one in lines:
        starts.append(starts[-1] + len(one))
    comments = next((n for n, one in enumerate(lines) if not one.startswith("#")), 0)
    blank = comments and not lines[comments].strip("\x00\x01 \t\n")
    if line == 1 and blank:  # below a licence
        line = comments + 2
    return starts[min(line - 1, len(starts) - 1)]
