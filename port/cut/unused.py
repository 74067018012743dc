"""What a library holds and this net does not use: layers that nobody made, rows of registries."""

import ast
import sys
from collections import abc
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

from port.cut.instead import is_followed
from port.record.facts import Binding
from port.record.instrument import span_of
from port.source import FUNCTIONS, Source

Thing = tuple[str, str]  # module, name at its top


class Unused:
    """Asks a recording; a library's file alone is asked of, a user's own stays whole."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self._statements: dict[str, dict[str, ast.stmt]] = {}

    def is_unmade(self, source: Source, node: ast.AST) -> bool:
        """Tell whether `node` is a class of layers that the net has none of.

        No method of it ran, its constructor among them, nor is it a base of one that did.
        """
        if not source.record.library or not isinstance(node, ast.ClassDef):
            return False
        if (source.module, node.name) in self._used_bases or _ran(source, node):
            return False
        own = any(isinstance(one, FUNCTIONS) and one.name == "__init__" for one in node.body)
        return own and self._is_layer(source, node)

    def is_unused_row(self, source: Source, statement: ast.stmt) -> bool:
        """Tell whether a statement adds to a table only what this net does not use.

        `TABLE.update(rows)`, where every class and function that the rows hold is one of a library
        and never ran; of rows that hold numbers alone nothing is known.
        """
        rows = _rows(statement) if source.record.library else None
        things = set() if rows is None else self._things(source, rows, set())
        unused = any(self._is_unused(*one) for one in things)
        return unused and not any(self._ran_thing(*one) for one in things)

    def rows_off(self, source: Source, table: ast.Dict) -> list[ast.expr]:
        """Return the values of a table at the top of a file that are layers which the net lacks.

        Only where a library is followed by names, which its files alone give to what they hold.
        """
        at_top = isinstance(source.parents.get(source.parents[table]), ast.Module)
        followed = at_top and is_followed(source.record)
        return [one for one in table.values if followed and self._is_layer_off(source, one)]

    def _is_layer_off(self, source: Source, row: ast.expr) -> bool:
        first = row.elts[0] if isinstance(row, ast.Tuple) and row.elts else row
        thing = self._thing(source.resolve(first))
        made = None if thing is None else self._at_top(*thing)
        if thing is None or not isinstance(made, ast.ClassDef):
            return False
        source = self.sources[thing[0]]
        return self._is_layer(source, made) and not is_part_of_net(source, made)

    @cached_property
    def _used_bases(self) -> set[Thing]:
        """Return the classes that others inherit of which a method ran."""
        found: set[Thing] = set()
        for source in self.sources.values():
            for node in source.tree.body if source.record.ran else ():
                if isinstance(node, ast.ClassDef) and _ran(source, node):
                    self._add_bases(source, node, found)
        return found

    def _add_bases(self, source: Source, node: ast.ClassDef, found: set[Thing]) -> None:
        for thing in filter(None, (self._thing(source.resolve(base)) for base in node.bases)):
            base = self._at_top(*thing)
            if thing not in found and isinstance(base, ast.ClassDef):
                found.add(thing)
                self._add_bases(self.sources[thing[0]], base, found)

    def _is_layer(self, source: Source, node: ast.ClassDef) -> bool:
        for bound in (source.resolve(base) for base in node.bases):
            if bound is None:
                continue
            if any(name.startswith("torch.nn.") for name in bound.names):
                return True
            thing = self._thing(bound)
            base = None if thing is None else self._at_top(*thing)
            if isinstance(base, ast.ClassDef) and self._is_layer(self.sources[thing[0]], base):  # type: ignore[index]
                return True
        return False

    def _things(self, source: Source, node: ast.AST, seen: set[Thing]) -> set[Thing]:
        """Return the classes and functions that an expression holds, by way of tables too."""
        found: set[Thing] = set()
        for part in ast.walk(node):
            if not isinstance(part, ast.Name | ast.Attribute):
                continue
            thing = self._thing(source.resolve(part))
            if thing is not None:
                found.add(thing)
            elif isinstance(part, ast.Name):
                found |= self._of_table(source, part.id, seen)
        return found

    def _of_table(self, source: Source, name: str, seen: set[Thing]) -> set[Thing]:
        """Return the classes and functions of a table, which may come from another file."""
        if (source.module, name) in seen:
            return set()
        seen.add((source.module, name))
        statement = self._at_top(source.module, name)
        if isinstance(statement, ast.ImportFrom):
            home = self.sources.get(source.imported_module(statement))
            names = {one.asname or one.name: one.name for one in statement.names}
            return set() if home is None else self._of_table(home, names[name], seen)
        value = getattr(statement, "value", None)
        return set() if value is None else self._things(source, value, seen)

    def _thing(self, bound: Binding | None) -> Thing | None:
        if bound is None or bound.kind != "thing":
            return None
        module, _, name = bound.value.partition(":")
        return (module, name) if module in self.sources else None

    def _is_unused(self, module: str, name: str) -> bool:
        """Tell whether it is sure that nothing used a class or function."""
        source, node = self.sources[module], self._at_top(module, name)
        if isinstance(node, FUNCTIONS):
            return not source.ran(node.body)
        return node is not None and self.is_unmade(source, node)

    def _ran_thing(self, module: str, name: str) -> bool:
        """Tell whether a class or function ran; one without methods may have."""
        source, node = self.sources[module], self._at_top(module, name)
        if isinstance(node, ast.ClassDef) and any(isinstance(one, FUNCTIONS) for one in node.body):
            return (module, name) in self._used_bases or _ran(source, node)
        return not self._is_unused(module, name)

    def _at_top(self, module: str, name: str) -> ast.stmt | None:
        """Return the statement that gives a module a name, the last of several."""
        if module not in self._statements:
            body = self.sources[module].tree.body
            self._statements[module] = {one: node for node in body for one in _names(node)}
        return self._statements[module].get(name)


def settings_off(source: Source, table: ast.Dict, kept: Collection[ast.AST]) -> list[ast.expr]:
    """Return the values of a library's table that are settings of functions that are not `kept`.

    Its keys begin with the names of functions of the same file; one of them is kept.
    """
    if not source.record.library or source.function_around(table) is not None:
        return []
    own = {one.name: one for one in source.tree.body if isinstance(one, FUNCTIONS)}
    heads = [str(getattr(key, "value", "")).partition(".")[0] for key in table.keys]
    rows = [(own[h], one) for h, one in zip(heads, table.values, strict=True) if h in own]
    off = [one for made, one in rows if made not in kept]
    return off if len(off) < len(rows) else []


def ran_at_work(source: Source, statement: ast.stmt) -> bool:
    """Tell whether a function or a method of a class ran while the net was built or run."""
    if isinstance(statement, FUNCTIONS):
        return span_of(statement.body[0]) in source.record.at_work
    if isinstance(statement, ast.ClassDef):
        return any(ran_at_work(source, one) for one in statement.body)
    return False


def is_part_of_net(source: Source, statement: ast.stmt) -> bool:
    """Tell whether a class was built or called while the net was at work, of whatever name."""
    methods = statement.body if isinstance(statement, ast.ClassDef) else ()
    return any(
        isinstance(one, FUNCTIONS)
        and one.name in ("__init__", "forward")
        and ran_at_work(source, one)
        for one in methods
    )


def is_of_an_interface(node: ast.AST) -> bool:
    """Tell whether a class has a base such as `Iterable[str]`: what that asks for must be there."""
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    whole = (one.value if isinstance(one, ast.Subscript) else one for one in bases)
    return any(getattr(one, "id", getattr(one, "attr", "")) in abc.__all__ for one in whole)


def is_of_python(statement: ast.stmt) -> bool:
    """Tell whether a statement imports from Python's own library."""
    if isinstance(statement, ast.ImportFrom):
        names = ["" if statement.level else statement.module or ""]
    elif isinstance(statement, ast.Import):
        names = [one.name for one in statement.names]
    else:
        return False
    return all(name.partition(".")[0] in sys.stdlib_module_names for name in names)


def silent_blocks(source: Source, function: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the outermost blocks of a function, its body among them, that did not run.

    The body is without the docstring; an `elif` is no block of its own.
    """
    body = function.body  # type: ignore[attr-defined]  # functions have one
    if isinstance(function, FUNCTIONS) and not source.ran(body):
        rest = body[1:] if ast.get_docstring(function) is not None else body
        yield from [rest] if rest else []
        return
    yield from _silent_inside(source, function)


def _silent_inside(source: Source, node: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody", "handlers"):
        block = getattr(node, name, None)
        if not isinstance(block, list) or not block:
            continue
        otherwise = name == "orelse" and isinstance(node, ast.If) and _is_elif(source, block)
        known = isinstance(node, ast.If | ast.For | ast.While | ast.Try | ast.ExceptHandler)
        if known and name != "handlers" and not otherwise and not source.ran(block):
            yield block
            continue
        for child in block:
            if not isinstance(child, FUNCTIONS | ast.ClassDef):
                yield from _silent_inside(source, child)


def _is_elif(source: Source, block: list[ast.stmt]) -> bool:
    return len(block) == 1 and isinstance(block[0], ast.If) and source.segment(block[0])[:1] == "e"


def _ran(source: Source, node: ast.ClassDef) -> bool:
    return any(isinstance(one, FUNCTIONS) and source.ran(one.body) for one in node.body)


def _rows(statement: ast.stmt) -> ast.expr | None:
    """Return what a statement puts into a table: `TABLE.update(rows)`, `TABLE[key] = row`.

    Or into a registry.
    """
    if isinstance(statement, ast.Assign):
        into = all(isinstance(one, ast.Subscript) for one in statement.targets)
        return statement.value if into else None
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return None
    if call.func.attr.startswith("register"):  # REGISTRY.register_module("name", module=Kind)
        values = [*call.args, *(one.value for one in call.keywords)]
        return ast.Tuple(values, ast.Load())
    one_of_all = len(call.args) == 1 and call.func.attr in ("update", "extend", "append")
    return call.args[0] if one_of_all else None


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, FUNCTIONS | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [one.asname or one.name for one in node.names]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [one.id for one in targets if isinstance(one, ast.Name)]
