"""What fills a registry as a file is imported: a string reaches it, and no name leads there."""

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from port.record.instrument import span_of
from port.source import Source


class Registered:
    """Looks for statements that register; ran: tells of a definition whether it ran in the net."""

    def __init__(
        self, sources: Mapping[str, Source], ran: Callable[[Source, ast.stmt], bool]
    ) -> None:
        self.sources, self.ran = sources, ran
        self.selected: set[tuple[str, str]] = set()  # `TABLE.NAME`, the name in small letters
        self._entries: dict[str, list[tuple[tuple[str, str], str]]] = {}

    def registers(self, source: Source, statement: ast.stmt) -> bool:
        """Tell whether a statement gives a class or function that ran to what another file has.

        `register("mobile", Block)`, `BLOCKS["mobile"] = Block`, and what gives a string that some
        call was given: `register_old_names(__name__, {"old": "new"})`.
        """
        value = getattr(statement, "value", None)
        if isinstance(statement, ast.Expr) and isinstance(value, ast.Call):
            owner = _root(value.func)
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript):
            owner = _root(statement.targets[0])
        else:
            return False
        if owner not in self._from_other_files(source):
            return False
        strings = {one.value for one in ast.walk(statement) if isinstance(one, ast.Constant)}
        if isinstance(statement, ast.Expr) and strings & self._given:
            return True
        called = {id(one.func) for one in _calls(statement)}
        names = (one for one in ast.walk(statement) if isinstance(one, ast.Name))
        given = {one.id for one in names if id(one) not in called}
        return any(_name(one) in given and self.ran(source, one) for one in source.tree.body)

    def imports(
        self, modules: Collection[str], kept: Collection[str], statements: Collection[ast.AST]
    ) -> Iterator[tuple[Source, str]]:
        """Yield (file, name) of the first import of each of `modules` that no statement imports.

        kept: modules of the port; statements: what of them is kept.
        """
        for module in sorted(modules):
            found = [
                (self.sources[one], statement, name)
                for one in kept
                for statement in self.sources[one].tree.body
                if (name := self._imports(self.sources[one], statement, module))
            ]
            if found and not any(statement in statements for _, statement, _ in found):
                yield found[0][0], found[0][2]

    def entries(self, names: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str]]:
        """Yield (module, definition) of what a decorator puts under a name that is selected.

        `@NORMS.register("instance")` above a function, and `NORMS.INSTANCE` in what is kept; names:
        of every module, what of it is kept.
        """
        tables = {table for table, _ in self.selected}
        for module, held in names.items():
            if not tables.isdisjoint(held):
                for entry, name in self._entries_of(module):
                    if entry in self.selected and entry[0] in held and name not in held:
                        yield module, name

    def _entries_of(self, module: str) -> list[tuple[tuple[str, str], str]]:
        """Return [((table, name in small letters), definition)] of a file."""
        if module not in self._entries:
            decorated = (
                (_entry(one), _name(statement))
                for statement in self.sources[module].tree.body
                for one in getattr(statement, "decorator_list", ())
            )
            self._entries[module] = [(key, name) for key, name in decorated if key is not None]
        return self._entries[module]

    def _imports(self, source: Source, statement: ast.stmt, module: str) -> str:
        """Return a name that a statement binds as it imports a module, "" where it does not."""
        if isinstance(statement, ast.Import):
            aliases = [one for one in statement.names if one.name == module]
            return (aliases[0].asname or module.partition(".")[0]) if aliases else ""
        if not isinstance(statement, ast.ImportFrom):
            return ""
        where = source.imported_module(statement)
        aliases = [one for one in statement.names if f"{where}.{one.name}" == module]
        if where == module and statement.names[0].name != "*":
            aliases = statement.names
        return (aliases[0].asname or aliases[0].name) if aliases else ""

    @cached_property
    def _given(self) -> set[str]:
        """Return the strings that calls were given as the net was built and run."""
        found: set[str] = set()
        for source in (one for one in self.sources.values() if one.record.at_work):
            for node in _calls(source.tree):
                seen = source.record.calls.get(span_of(node), ())
                around = source.function_around(node) if seen else None
                if around is not None and span_of(around.body[0]) in source.record.at_work:
                    values = (f.value for s in seen for f in (*s.positional, *s.keywords.values()))
                    found |= {one for one in values if isinstance(one, str) and one}
        return found

    def _from_other_files(self, source: Source) -> set[str]:
        """Return the names that a file imports from files of the recording."""
        return {
            alias.asname or alias.name
            for one in source.tree.body
            if isinstance(one, ast.ImportFrom) and source.imported_module(one) in self.sources
            for alias in one.names
        }


def _calls(statement: ast.AST) -> list[ast.Call]:
    return [one for one in ast.walk(statement) if isinstance(one, ast.Call)]


def _name(statement: Any) -> str:
    return getattr(statement, "name", "")


def _root(node: ast.expr) -> str:
    """Return the name that a chain of attributes and items begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _entry(decorator: ast.expr) -> tuple[str, str] | None:
    """Return (table, name in small letters) of `@TABLE.register("name")`."""
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
        return None
    first = decorator.args[0] if decorator.args else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return _root(decorator.func), first.value.lower()
    return None
