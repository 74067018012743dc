"""Modules that the net uses and that no import of the port reaches: a string names what they hold.

In the reference a package around them imports them, and they fill registries as they are imported.
"""

import ast
from collections.abc import Collection, Iterator, Mapping, Set

from port.record.facts import LOCATE, MODULE_BY_NAME
from port.source import FUNCTIONS, Source

Import = ast.Import | ast.ImportFrom
Names = Mapping[str, Set[str]]  # of every module, what of it is kept


class Unreached:
    """Follows the imports of a port; `root` is the module with the factory."""

    def __init__(self, root: str, sources: Mapping[str, Source]) -> None:
        self.root, self.sources = root, sources
        self._imports: dict[str, list[Import]] = {}

    def wanted(self, names: Names, kept: Collection[ast.AST]) -> Iterator[tuple[str, str]]:
        """Yield (package, name) that packages have to import, so that every module kept is.

        kept: statements.
        """
        reached = self._reached(names, kept)
        for module in (one for one, held in names.items() if held and one not in reached):
            for package in _around(module):
                found = _imported_from(self.sources, package, module, names[module])
                if found - names.get(package, set()):
                    yield from ((package, name) for name in sorted(found))
                    break

    def _reached(self, names: Names, kept: Collection[ast.AST]) -> set[str]:
        reached: set[str] = set()
        waiting = [self.root]
        while waiting:
            module = waiting.pop()
            if module in reached:
                continue
            reached.add(module)
            waiting += _around(module)
            if (source := self.sources.get(module)) is not None:
                for node in self._imports_of(source):
                    waiting += _modules_of(source, node, names[module], kept)
                waiting += _by_name(source)
        return reached

    def _imports_of(self, source: Source) -> list[Import]:
        if source.module not in self._imports:
            nodes = ast.walk(source.tree)
            imports = [one for one in nodes if isinstance(one, ast.Import | ast.ImportFrom)]
            self._imports[source.module] = imports
        return self._imports[source.module]


def _modules_of(
    source: Source, node: Import, names: Set[str], kept: Collection[ast.AST]
) -> list[str]:
    """Return the modules that what the port has of an import loads."""
    at_top = isinstance(source.parents.get(node), ast.Module)
    if at_top and node not in kept:
        return []
    aliases = [
        one
        for one in node.names
        if not at_top or one.name == "*" or (one.asname or one.name.partition(".")[0]) in names
    ]
    if isinstance(node, ast.Import):
        return [one.name for one in aliases]
    module = source.imported_module(node)
    return [module, *(f"{module}.{one.name}" for one in aliases)] if aliases else []


def _by_name(source: Source) -> Iterator[str]:
    """Yield the modules that a file imports by their names."""
    for calls in source.record.calls.values():
        for one in calls:
            if one.whose == MODULE_BY_NAME:
                yield one.asked
            elif one.whose == LOCATE:
                yield from (one.asked, one.asked.rpartition(".")[0])


def _imported_from(
    sources: Mapping[str, Source], package: str, module: str, held: Set[str]
) -> set[str]:
    """Return the names under which a package holds a module, or what the port has of it."""
    found: set[str] = set()
    source = sources.get(package)
    for node in source.tree.body if source is not None else ():
        if not isinstance(node, ast.ImportFrom):
            continue
        owner = source.imported_module(node)  # type: ignore[union-attr]
        if owner == module:
            names = {one.asname or one.name for one in node.names if one.name in held}
            found |= _by_star(sources[module], held) if node.names[0].name == "*" else names
        else:
            whole = (one for one in node.names if f"{owner}.{one.name}" == module)
            found |= {one.asname or one.name for one in whole}
    return found


def _by_star(source: Source, held: Set[str]) -> set[str]:
    """Return the name of `held` by which a `*` leads to a file: one of its own, if there is any."""
    listed = public(source)
    given = {n for n in held if (not n.startswith("_") if listed is None else n in listed)} - {""}
    own = {getattr(one, "name", "") for one in source.tree.body}
    return set(sorted(given & own or given)[:1])


def public(source: Source) -> set[str] | None:
    """Return the names that `__all__` of a file lists; None where it has none, or computes it.

    Those of decorated functions too: a decorator of timm puts them into the list.
    """
    made = (one for one in source.tree.body if isinstance(one, FUNCTIONS | ast.ClassDef))
    found = {one.name for one in made if one.decorator_list}
    told = False
    for node in source.tree.body:
        targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
        if not any(isinstance(one, ast.Name) and one.id == "__all__" for one in targets):
            continue
        try:
            found |= set(ast.literal_eval(node.value))  # type: ignore[attr-defined]  # it has a target
        except ValueError:
            return None
        told = True
    return found if told else None


def _around(module: str) -> list[str]:
    """Return the packages around a module, the nearest first."""
    parts = module.split(".")[:-1]
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
