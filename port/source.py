"""One file of the reference: its text, its tree, and what its names stand for."""

import ast
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import decode_source
from typing import Any

from port.record.facts import Binding, FileRecord
from port.record.instrument import is_asked, span_of
from port.record.stand_ins.old_worlds import with_old_names

_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
_COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


class Source:
    """A recorded file, parsed again without questions; `files` are all of the recording."""

    def __init__(self, record: FileRecord, files: Mapping[str, FileRecord]) -> None:
        self.record, self.files = record, files
        self._locals: dict[ast.AST, dict[str, Any]] = {}

    @cached_property
    def text(self) -> bytes:
        """Return the file's text; its lines end as in Unix."""
        text = decode_source(self.record.path.read_bytes())
        return with_old_names(self.module, text).encode()

    @cached_property
    def tree(self) -> ast.Module:
        """Return the file's tree; most files that a library imports are never asked for it."""
        return ast.parse(self.text)

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """Return the node around every node."""
        inside = ((node, ast.iter_child_nodes(node)) for node in ast.walk(self.tree))
        return {child: node for node, children in inside for child in children}

    @property
    def module(self) -> str:
        """Return the dotted name of the module."""
        return self.record.module

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in self.text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return starts

    def offset(self, line: int, column: int) -> int:
        """Return the byte at which a place begins."""
        return self._starts[line - 1] + column

    def extent(self, node: Any) -> tuple[int, int]:
        """Return the first byte of a node and the one behind it."""
        line, column, last, end = span_of(node)
        return self.offset(line, column), self.offset(last, end)

    def segment(self, node: Any) -> str:
        """Return a node's own text."""
        start, end = self.extent(node)
        return self.text[start:end].decode("utf-8")

    def package(self, level: int) -> str:
        """Return the package that `level` dots in front of an import mean."""
        parts = self.module.split(".")
        keep = len(parts) - level + self.record.is_package
        return ".".join(parts[:keep])

    def imported_module(self, node: ast.ImportFrom) -> str:
        """Return the dotted name of the module that an import takes names from."""
        if not node.level:
            return node.module or ""
        return ".".join(part for part in (self.package(node.level), node.module) if part)

    def ran(self, body: list[ast.stmt]) -> bool:
        """Tell whether a block ran."""
        return span_of(body[0]) in self.record.ran

    def function_around(self, node: ast.AST) -> Any:
        """Return the innermost function that a node stands in, None at the top of the file."""
        place: ast.AST | None = self.parents.get(node)
        while place is not None and not isinstance(place, FUNCTIONS):
            place = self.parents.get(place)
        return place

    def definition_around(self, node: ast.AST) -> str:
        """Return the name of the class or function of the module that a node stands in, or ""."""
        around: Any = node
        while around is not None and self.parents.get(around) is not self.tree:
            around = self.parents.get(around)
        return str(getattr(around, "name", ""))

    def statement_at(self, line: int) -> ast.stmt | None:
        """Return the innermost statement that a line is of."""
        found: ast.stmt | None = None
        for node in ast.walk(self.tree):  # the outer ones come first
            if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
                found = node
        return found

    def blocks(self) -> list[list[ast.stmt]]:
        """Return the blocks of which is known whether they ran, in the order of the text."""
        found = []
        for node in ast.walk(self.tree):
            for name in ("body", "orelse", "finalbody"):
                block = getattr(node, name, None)
                if isinstance(block, list) and block and _is_marked(node, name):
                    found.append(block)
        return sorted(found, key=lambda block: (block[0].lineno, -(block[-1].end_lineno or 0)))

    def did_run(self, node: ast.AST) -> bool:
        """Tell whether every block around a node ran."""
        child, parent = node, self.parents.get(node)
        while parent is not None:
            for name in ("body", "orelse", "finalbody"):
                block = getattr(parent, name, None)
                if not isinstance(block, list) or child not in block:
                    continue
                if _is_marked(parent, name) and not self.ran(block):
                    return False
            child, parent = parent, self.parents.get(parent)
        return True

    def was_reached(self, node: ast.AST) -> bool:
        """Tell whether a node ran: its blocks did, and every call that it is a part of.

        `f() if x else None` and `x and f()` are in a block that ran, and `f` may not have been.
        """
        place: ast.AST | None = node
        while place is not None and not isinstance(place, ast.stmt):
            asked = isinstance(place, ast.Call) and is_asked(place)
            if asked and span_of(place) not in self.record.calls:
                return False
            place = self.parents.get(place)
        return self.did_run(node)

    def is_idle(self, node: Any) -> bool:
        """Tell whether a library's decorator did nothing but write documentation, as it ran.

        What keeps what it is given, as a registry does, is none.
        """
        span, record = span_of(node), self.record
        return record.library and span in record.idle and span not in record.busy

    # Names

    @cached_property
    def class_level_names(self) -> set[str]:
        """Return the names that classes of the file give values, for all of their instances."""
        found: set[str] = set()
        for scope in (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)):
            for node in scope.body:
                targets = node.targets if isinstance(node, ast.Assign) else []
                if isinstance(node, ast.AnnAssign) and node.value is not None:
                    targets = [node.target]
                found |= {one.id for one in targets if isinstance(one, ast.Name)}
        return found

    @cached_property
    def all_local_names(self) -> set[str]:
        """Return the names that functions and classes of the file bind to things of their own."""
        scopes = (node for node in ast.walk(self.tree) if isinstance(node, _Scope))
        return {
            name for scope in scopes for name, what in self._names_of(scope).items() if what is None
        }

    def resolve(self, node: ast.AST) -> Binding | None:
        """Return what a name or a dotted chain stands for, None for a variable and all else."""
        if isinstance(node, ast.Name):
            return self._resolve_name(node)
        if isinstance(node, ast.Attribute):
            owner = self.resolve(node.value)
            return None if owner is None else member(owner, node.attr, self.files)
        return None

    def is_local(self, node: ast.Name) -> bool:
        """Tell whether a name is one of a function, class or comprehension around it."""
        return self._local(node)[0]

    def is_imported(self, node: ast.AST) -> bool:
        """Tell whether a chain begins with what the file imports from torch itself.

        So does `blocks.nn.Conv2d`, by way of another file. False for a name that the user gave to
        a thing of torch, `Norm = nn.BatchNorm2d`.
        """
        while isinstance(node, ast.Attribute):
            if self._is_imported_by_another(node):
                return True
            node = node.value
        if not isinstance(node, ast.Name):
            return False
        is_local, known = self._local(node)
        if is_local:
            return known is not None and (known.kind == "torch" or _is_torch_module(known))
        if node.id in self._imported_names:
            return True
        if node.id in self._own_names:
            return False
        return self._star_of_torch or _is_torch_module(self.record.names.get(node.id))

    def _is_imported_by_another(self, node: ast.Attribute) -> bool:
        owner = self.resolve(node.value)
        other = self.files.get(owner.value) if owner and owner.kind == "module" else None
        bound = other.names.get(node.attr) if other else None
        if other is None or bound is None or bound.kind != "torch":
            return _is_torch_module(bound)
        return node.attr in Source(other, self.files)._imported_names

    @cached_property
    def _imported_names(self) -> set[str]:
        """Return the names that imports of torch bind at the top of the file, in `try` too."""
        found = set()
        for node in inside_of(self.tree):
            if isinstance(node, ast.Import):
                named = {a.asname or a.name.partition(".")[0]: a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = self.imported_module(node)
                named = {a.asname or a.name: module for a in node.names}
                found |= self._handed_on(module, node.names)
            else:
                continue
            found |= {name for name, module in named.items() if _is_torchs(module)}
        return found

    def _handed_on(self, module: str, names: list[ast.alias]) -> set[str]:
        """Return the names that another file imports from torch itself, and this one from it.

        All that are torch's, where that file has no port.
        """
        torchs = {
            alias.asname or alias.name: alias.name
            for alias in names
            if (bound := self.record.names.get(alias.asname or alias.name)) is not None
            and bound.kind == "torch"
        }
        if not torchs or self.files.get(module) is self.record:
            return set()
        if module not in self.files:
            return set(torchs)
        others = Source(self.files[module], self.files)._imported_names
        return {name for name, theirs in torchs.items() if theirs in others}

    def is_handed_on(self, name: str) -> bool:
        """Tell whether a name of the file is torch's own, wherever it is imported from."""
        return name in self._imported_names

    @cached_property
    def _star_of_torch(self) -> bool:
        return any(
            isinstance(node, ast.ImportFrom)
            and node.names[0].name == "*"
            and _is_torchs(self.imported_module(node))
            for node in inside_of(self.tree)
        )

    @cached_property
    def _own_names(self) -> set[str]:
        names = {name for node in inside_of(self.tree) for name in _bound_by(node)}
        for node in inside_of(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names |= {a.asname or a.name for a in node.names}
        return names

    def _resolve_name(self, node: ast.Name) -> Binding | None:
        is_local, known = self._local(node)
        if is_local or node.id in self.record.names:
            return known if is_local else self.record.names[node.id]
        return self._others_of_torch.get(node.id)

    @cached_property
    def _others_of_torch(self) -> dict[str, Binding | None]:
        """Return what imports of torch bind that is not torch's own: `torch.jit.Final` is Python's.

        A recording tells only what names hold, and these hold nothing of torch's.
        """
        bound = {name for node in inside_of(self.tree) for name in _bound_by(node)}
        return {
            name: what
            for node in inside_of(self.tree)
            if isinstance(node, ast.ImportFrom) and _is_torchs(self.imported_module(node))
            for name, what in self.imports(node).items()
            if name not in bound
        }

    def _local(self, node: ast.Name) -> tuple[bool, Binding | None]:
        """Return (whether a name is local, what a local import bound to it)."""
        place, below = self.parents.get(node), node
        inner = True
        while place is not None:
            if isinstance(place, _Scope | _COMPREHENSIONS) and not _is_outside(place, below):
                if (inner or not isinstance(place, ast.ClassDef)) and node.id in (
                    known := self._names_of(place)
                ):
                    return True, known[node.id]
                inner = inner and isinstance(place, _COMPREHENSIONS)
            below, place = place, self.parents.get(place)  # type: ignore[assignment]
        return False, None

    def _names_of(self, scope: ast.AST) -> dict[str, Any]:
        """Return the local names of a scope; of an import with what it stands for, else None."""
        if scope not in self._locals:
            found: dict[str, Any] = {}
            for node in inside_of(scope):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    found.update(self.imports(node))
                else:
                    found.update(dict.fromkeys(_bound_by(node)))
            for node in inside_of(scope):  # of two branches that import a name, the one that ran
                if isinstance(node, ast.Import | ast.ImportFrom) and self.did_run(node):
                    found.update(self.imports(node))
            declared = {
                name
                for node in inside_of(scope)
                if isinstance(node, ast.Global | ast.Nonlocal)
                for name in node.names
            }
            self._locals[scope] = {k: v for k, v in found.items() if k not in declared}
        return self._locals[scope]

    def imports(self, node: ast.Import | ast.ImportFrom) -> dict[str, Binding | None]:
        """Return what an import binds."""
        if isinstance(node, ast.Import):
            return {
                alias.asname or alias.name.partition(".")[0]: Binding(
                    "module", alias.name if alias.asname else alias.name.partition(".")[0]
                )
                for alias in node.names
            }
        module = Binding("module", self.imported_module(node))
        return {
            alias.asname or alias.name: member(module, alias.name, self.files)
            or self.record.made_up.get((module.value, alias.name))
            for alias in node.names
            if alias.name != "*"
        }


def member(owner: Binding, name: str, files: Mapping[str, FileRecord]) -> Binding | None:
    """Return what `owner.name` stands for."""
    if owner.kind == "torch":
        return Binding("torch", names=tuple(f"{one}.{name}" for one in owner.names))
    if owner.kind != "module":
        return None
    full = f"{owner.value}.{name}"
    if full.partition(".")[0] == "torch":
        return Binding("torch", names=(full,))
    if owner.value in files and name in files[owner.value].names:
        return files[owner.value].names[name]
    if full in files:
        return Binding("module", full)
    return None if owner.value in files else Binding("module", full)


def _is_torch_module(bound: Binding | None) -> bool:
    """Tell whether a name stands for torch or a module in it: another file's `*` may give it."""
    return bound is not None and bound.kind == "module" and _is_torchs(bound.value)


def _is_torchs(module: str) -> bool:
    return module.partition(".")[0] == "torch"


def _is_marked(parent: ast.AST, name: str) -> bool:
    if isinstance(parent, ast.ExceptHandler | FUNCTIONS):
        return name == "body"
    return isinstance(parent, ast.If | ast.For | ast.While | ast.Try)


def _is_outside(scope: ast.AST, child: ast.AST) -> bool:
    """Tell whether a part of a function or class is evaluated around it: defaults, decorators."""
    if isinstance(scope, FUNCTIONS):
        return child in scope.decorator_list or child is scope.returns
    if isinstance(scope, ast.ClassDef):
        return child not in scope.body
    return False


def inside_of(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a scope without those of the scopes inside it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, _Scope | _COMPREHENSIONS):
            continue
        waiting.extend(ast.iter_child_nodes(node))


def _bound_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
        return [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, FUNCTIONS | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.ExceptHandler) and node.name:
        return [node.name]
    if isinstance(node, ast.NamedExpr):
        return [node.target.id]
    return []
