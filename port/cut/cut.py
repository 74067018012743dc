"""What of the reference's files the net needs: followed by names from the factory.

A statement at the top of a file is kept when something kept needs a name that it binds, a method
when it ran or something kept selects its name. Functions that ran are kept whoever refers to them:
registries reach them by strings. Of a library's files less is kept: see `unused.py`.
"""

import ast
from collections.abc import Collection, Iterator, Mapping, Set

from port.cut.bindings import bindings, is_a_loaded_module, makes_up_names
from port.cut.branches import not_taken
from port.cut.instead import Ours, has_instead, is_followed
from port.cut.prepared import patched, set_up
from port.cut.registered import Registered
from port.cut.unreached import Unreached, public
from port.cut.unused import (
    Unused,
    is_of_an_interface,
    is_of_python,
    is_part_of_net,
    ran_at_work,
    settings_off,
    silent_blocks,
)
from port.record.facts import Binding, Record
from port.record.instrument import span_of
from port.source import FUNCTIONS, Source
from port.trace.chosen import Traced

Item = tuple[str, str]  # module, name at its top


# Of a class: nobody selects their names. backward: of an autograd function; the order of
# instances: functools.total_ordering asks for it; how they are copied: the copy module does.
_COMPARED = ("__eq__", "__lt__", "__le__", "__gt__", "__ge__")
_PICKLED = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")
_COPIED = ("__copy__", "__deepcopy__", *_PICKLED)
_ALWAYS = ("__init__", "forward", "backward", *_COMPARED, *_COPIED)
_BY_STRING = ("globals", "eval", "exec")  # which look up what a string names in their file
_ITEMS = ("__len__", "__getitem__", "__setitem__", "__delitem__", "__contains__")
_BY_SYNTAX = ("__enter__", "__exit__", "__call__", "__iter__", "__next__", *_ITEMS)


class Cut:
    """What is kept. names: of every module; statements and methods: nodes of the sources' trees.

    unmade: classes of a library of which the shell is kept; silent: the first statement of blocks
    of a library that did not run and need what was left out, with the last.
    """

    def __init__(
        self, record: Record, sources: Mapping[str, Source], traced: Traced | None = None
    ) -> None:
        self.record, self.sources = record, sources
        self.traced = traced or Traced()
        self.names: dict[str, set[str]] = {module: set() for module in sources}
        self._known = {*sources, *packages_around(sources)}
        self.kept: set[ast.AST] = set()
        self.unmade: set[ast.AST] = set()
        self.silent: dict[ast.AST, ast.stmt] = {}
        self.unused = Unused(sources)
        self._registered = Registered(sources, ran_at_work)
        self.replaced: dict[ast.AST, tuple[Ours, str]] = {}  # by what is ours, of that name
        self.used_by_ours: dict[str, set[str]] = {}  # by module: names in what is ours
        self._ours: dict[str, Ours] = {}
        self.selected: set[str] = set()
        self.reached: set[Item] = set()  # packages, and the modules that are read of them by name
        self.lent: dict[str, dict[str, str]] = {}  # package -> names that it makes up, their homes
        self._of_any_module: set[str] = set()
        self._registering: set[str] = set()  # modules that fill the registry of another
        self._working: set[str] = set()  # those, and the ones of which a function ran
        self._modules_held: dict[ast.AST | None, set[str]] = {}
        self._waiting: list[Item] = []
        self._pending_methods: list[tuple[Source, ast.AST]] = []
        self._bindings: dict[str, dict[str, list[ast.stmt]]] = {}
        self._unreached = Unreached(record.root[0], sources)
        self._follow()
        self._leave_silent()

    @property
    def modules(self) -> list[str]:
        """Return the modules of which something is kept, and the packages around them."""
        used = {module for module, names in self.names.items() if names}
        return [module for module in self.sources if module in used | packages_around(used)]

    def holds(self, source: Source, node: ast.AST) -> bool:
        """Tell whether a statement stands in the port."""
        place: ast.AST | None = node
        while place is not None:
            parent = source.parents.get(place)
            if place in self.silent or place in not_taken(source, parent):
                return False
            method = isinstance(parent, ast.ClassDef) and isinstance(place, FUNCTIONS)
            if (isinstance(parent, ast.Module) or method) and place not in self.kept:
                return False
            place = parent
        return True

    def unbound(self, package: str) -> list[str]:
        """Return the modules that the port reads of a package by name, and that it does not import.

        In the reference any import binds them, also `import package.part` of another file.
        """
        asked = sorted(name for owner, name in self.reached if owner == package)
        kept = {*self.modules, *packages_around(self.modules)}
        return [n for n in asked if f"{package}.{n}" in kept and not self._binds(package, n)]

    def _binds(self, package: str, part: str) -> bool:
        """Tell whether what the port keeps of a package's file imports a module of it."""
        if any(one in self.kept for one in self._binding(package).get(part, ())):
            return True
        source = self.sources.get(package)
        imports = [one for one in source.tree.body if one in self.kept] if source else []
        return any(
            f"{source.imported_module(one)}.".startswith(f"{package}.{part}.")  # type: ignore[union-attr]
            for one in imports
            if isinstance(one, ast.ImportFrom)
        )

    def rows_off(self, source: Source, table: ast.Dict) -> list[ast.expr]:
        """Return the values of a table that the port has not."""
        return self.unused.rows_off(source, table) or settings_off(source, table, self.kept)

    def left_out(self, source: Source, node: ast.Name) -> bool:
        """Tell whether a library's name was left out: only code that did not run refers to it."""
        if not source.record.library or source.is_local(node) or source.did_run(node):
            return False
        known = source.record.names.get(node.id)
        if known is not None and known.kind not in ("other", "torch"):
            return node.id not in self.names[source.module]
        statements = self._binding(source.module).get(node.id, [])
        return bool(statements) and not any(one in self.kept for one in statements)

    def _follow(self) -> None:
        module, name = self.record.root
        self._want(module, name.partition(".")[0])
        for statement in self.sources[module].tree.body:
            source = self.sources[module]
            for prepared in patched(source, statement) | set_up(source, statement):
                self._want(module, prepared)
        for source in self.sources.values():
            ran = is_part_of_net if is_followed(source.record) else ran_at_work
            for statement in source.tree.body if source.record.at_work else ():
                if statement not in self.traced.left and ran(source, statement):
                    self._working.add(source.module)
                    self._want(source.module, statement.name)  # type: ignore[attr-defined]  # it ran
            for statement in source.tree.body if source.record.at_work else ():
                if self._registered.registers(source, statement):
                    self.kept.add(statement)
                    self._read(source, statement)
                    self._registering.add(source.module)
                    self._working.add(source.module)
        strings = {module for module, names in self.names.items() if names}
        while (
            self._waiting
            or self._take_methods()
            or self._take_of_any_module()
            or self._take_unreached()
            or self._take_entries()
        ):
            if self._waiting:
                self._take(*self._waiting.pop())
        self._take_registered(strings)
        for source, bound in self._registered.imports(self._registering, self.modules, self.kept):
            self._want(source.module, bound)
        while self._waiting:
            self._take(*self._waiting.pop())

    def _take_unreached(self) -> bool:
        """Want what packages import of modules that only strings name; tell if there was any."""
        for wanted in list(self._unreached.wanted(self.names, self.kept)):
            self._want(*wanted)
        return bool(self._waiting)

    def _take_entries(self) -> bool:
        """Want what fills a registry under names that are selected of it; tell if there was any."""
        for wanted in list(self._registered.entries(self.names)):
            self._want(*wanted)
        return bool(self._waiting)

    def _leave_silent(self) -> None:
        """Leave blocks of libraries out that did not run and need what the port has not.

        What the others need of Python's own library is kept.
        """
        for module in self.modules:
            source = self.sources[module]
            for node in ast.walk(source.tree) if source.record.library else ():
                if isinstance(node, FUNCTIONS) and self.holds(source, node):
                    for block in silent_blocks(source, node):
                        self._leave_block(source, block)
            for node in ast.walk(source.tree) if source.record.library else ():
                if isinstance(node, ast.Name) and self.holds(source, node):
                    self._want_of_python(source, node)

    def _want_of_python(self, source: Source, node: ast.Name) -> None:
        """Want what code that did not run needs of Python's own library."""
        bound = self._binding(source.module).get(node.id, ())
        if bound and all(map(is_of_python, bound)) and not source.is_local(node):
            self._want(source.module, node.id)
            while self._waiting:
                self._take(*self._waiting.pop())

    def _leave_block(self, source: Source, block: list[ast.stmt]) -> None:
        inside = [part for one in block for part in ast.walk(one) if isinstance(part, ast.Name)]
        missing = {part.id for part in inside if self.left_out(source, part)}
        pythons = {
            name
            for name in missing
            if all(map(is_of_python, self._binding(source.module).get(name, [ast.Pass()])))
        }
        if missing - pythons:
            self.silent[block[0]] = block[-1]
            return
        for name in sorted(pythons):
            self._want(source.module, name)
            self._take(*self._waiting.pop())

    def _take_registered(self, modules: Set[str]) -> None:
        """Keep the `from module import *` of packages: they fill registries as they are imported.

        modules: those whose functions ran, whoever refers to them.
        """
        for package in filter(lambda one: self.sources[one].record.is_package, self.modules):
            for statement in self.sources[package].tree.body:
                star = isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*"
                if star and self.sources[package].imported_module(statement) in modules:  # type: ignore[arg-type]
                    self.kept.add(statement)

    def _binding(self, module: str) -> dict[str, list[ast.stmt]]:
        """Return the statements that bind the names of a module; none of another's."""
        if module not in self.sources:
            return {}
        if module not in self._bindings:
            self._bindings[module] = bindings(self.sources[module])
        return self._bindings[module]

    def _want(self, module: str, name: str) -> None:
        if module in self.names and name not in self.names[module]:
            self.names[module].add(name)
            self._waiting.append((module, name))

    def _take(self, module: str, name: str) -> None:
        source = self.sources[module]
        if self._take_ours(source, name):
            return
        for statement in self._binding(module).get(name, ()):
            if self.unused.is_unused_row(source, statement):
                continue
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._take_import(source, statement, name)
            elif statement not in self.kept:
                self.kept.add(statement)
                self._read(source, statement)
        if name not in self._binding(module):
            self._take_star(source, name)

    def _take_ours(self, source: Source, name: str) -> bool:
        """Keep what is ours instead of the definition of a name; tell whether there is any."""
        bound = self._binding(source.module).get(name, ())
        made = [one for one in bound if not isinstance(one, ast.Import | ast.ImportFrom)]
        if not made or not has_instead(source.record, name):
            return False
        ours = self._ours.setdefault(source.module, Ours(source.record, self.record.files))
        statement = ours.definitions[name]
        self.replaced[made[0]] = ours, name
        self.kept |= {made[0], statement}
        self._read(ours, statement)
        return True

    def _take_import(self, source: Source, node: ast.Import | ast.ImportFrom, name: str) -> None:
        self.kept.add(node)
        if isinstance(node, ast.ImportFrom):
            module = source.imported_module(node)
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    self._want_member(module, alias.name, source.record.names.get(name))

    def home_of(self, module: str, name: str, got: Binding | None = None) -> str:
        """Return the module to import a name from: another where a module makes up its names.

        Packages that import lazily bind nothing themselves: `sys.modules[__name__]` is a stand-in,
        which may be made anew later. got: what the importer was given.
        """
        known = self.record.files[module].names.get(name, got) if module in self.sources else None
        home, _, whole = (
            known.value.partition(":") if known and known.kind == "thing" else ("",) * 3
        )
        if whole != name or home == module or home not in self.sources:
            return module
        if name in self._binding(module) or self.stars(self.sources[module]):
            return module
        return home

    def _want_member(self, module: str, name: str, got: Binding | None = None) -> None:
        module = self.home_of(module, name, got)
        if f"{module}.{name}" in self.names and name not in self._binding(module):
            self.names[f"{module}.{name}"].add("")  # the module itself
        else:
            self._want(module, name)

    def _take_star(self, source: Source, name: str) -> None:
        for statement, module in self.stars(source):
            if self._gives(module, name):
                self.kept.add(statement)
                self._want(module, name)
                self._want(module, "__all__")

    def stars(self, source: Source) -> list[tuple[ast.ImportFrom, str]]:
        """Return the `from module import *` of files of the recording, with their modules."""
        found = []
        for statement in source.tree.body:
            if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
                module = source.imported_module(statement)
                found += [(statement, module)] if module in self.sources else []
        return found

    def _gives(self, module: str, name: str, seen: frozenset[str] = frozenset()) -> bool:
        """Tell whether a `*` of a module gives a name, one of its own `*` too.

        Numbers are not recorded.
        """
        listed = public(self.sources[module])
        if module in seen or (name not in listed if listed is not None else name.startswith("_")):
            return False
        if name in self.record.files[module].names or name in self._binding(module):
            return True
        stars = self.stars(self.sources[module])
        return any(self._gives(further, name, seen | {module}) for _, further in stars)

    def _take_methods(self) -> bool:
        """Take the methods that are selected by now; tell whether there were any."""
        taken = [pair for pair in self._pending_methods if pair[1].name in self.selected]  # type: ignore[attr-defined]
        for pair in taken:
            self._pending_methods.remove(pair)
            self.kept.add(pair[1])
            self._read(*pair)
        return bool(taken)

    def _take_of_any_module(self) -> bool:
        """Want what is read of a module that `sys.modules` gave, wherever it stands."""
        for module in [module for module, names in self.names.items() if names]:
            for name in self._of_any_module & self._binding(module).keys():
                self._want(module, name)
        return bool(self._waiting)

    def _holds_module(self, source: Source, node: ast.Name) -> bool:
        """Tell whether the function around gives a name what it finds in `sys.modules`."""
        function = source.function_around(node)
        if function not in self._modules_held:
            inside = ast.walk(function) if function is not None else ()
            self._modules_held[function] = {
                target.id
                for part in inside
                if isinstance(part, ast.Assign) and is_a_loaded_module(part.value)
                for target in part.targets
                if isinstance(target, ast.Name)
            }
        return node.id in self._modules_held[function]

    def _read(self, source: Source, node: ast.AST) -> None:
        """Want what a kept statement refers to; methods that did not run wait to be selected."""
        for part in self._parts(source, node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                if part.value.isidentifier():
                    self.selected.add(part.value)
            elif isinstance(part, ast.Attribute):
                self.selected.add(part.attr)
                self._refer(source, part)
            elif isinstance(part, ast.Name):
                self._refer(source, part)
            elif isinstance(part, ast.Import | ast.ImportFrom):
                self._read_local_import(source, part)
            elif isinstance(part, ast.Call):
                self._read_asked(source, part)

    def _read_asked(self, source: Source, node: ast.Call) -> None:
        """Want what `getattr(module, name)` found in modules of the recording, and `eval`.

        Not the functions of library files of which none ran: a file's own list of old names asks
        for them as it is imported.
        """
        if isinstance(node.func, ast.Name) and node.func.id in _BY_STRING:
            self._want_imported(source, node)
        if source.record.library and makes_up_names(source.function_around(node), source):
            return  # who asked it is followed
        for seen in source.record.calls.get(span_of(node), ()):
            if seen.asked_of in self.sources and self._may_be_asked(seen.asked_of, seen.asked):
                self._want_member(seen.asked_of, seen.asked)

    def _may_be_asked(self, module: str, name: str) -> bool:
        own = self._binding(module).get(name, ())
        whole = any(isinstance(one, FUNCTIONS) for one in own)
        return not (whole and self.sources[module].record.library) or module in self._working

    def _want_imported(self, source: Source, node: ast.AST, module: str | None = None) -> None:
        """Want what a file imports and that ran: a string reaches it by the file's name for it.

        node: what looks it up. module: where, if not in its own file.
        """
        if source.record.library and not source.did_run(node):
            return
        module = source.module if module is None else module
        for name, bound in self.sources[module].record.names.items():
            home, _, whole = bound.value.partition(":")
            if bound.kind == "thing" and home in self.sources and home != module:
                made = self._binding(home).get(whole, ())
                if any(ran_at_work(self.sources[home], one) for one in made):
                    self._want(module, name)

    def _parts(self, source: Source, node: ast.AST) -> Iterator[ast.AST]:
        yield node
        if self.unused.is_unmade(source, node):
            self.unmade.add(node)
            for part in shell(node):
                yield from ast.walk(part)
            return
        off: Collection[ast.AST] = not_taken(source, node)
        if isinstance(node, ast.Dict):
            off = self.unused.rows_off(source, node)
        for child in ast.iter_child_nodes(node):
            if child in off:
                continue
            if child in getattr(node, "decorator_list", ()) and source.is_idle(child):
                continue
            if isinstance(node, ast.ClassDef) and isinstance(child, FUNCTIONS):
                if not self._stays(source, child):
                    self._pending_methods.append((source, child))
                    continue
                self.kept.add(child)
                if child in self.traced.forwards:
                    yield from ast.walk(child.args)
                    continue
            elif isinstance(node, ast.ClassDef):  # `__repr__ = __str__`
                self.selected |= {one.id for one in ast.walk(child) if isinstance(one, ast.Name)}
            yield from self._parts(source, child)

    def _stays(self, source: Source, method: ast.AST) -> bool:
        name = method.name  # type: ignore[attr-defined]  # of a definition
        if method in self.traced.left:
            return name in self.selected
        own = not source.record.library or is_of_an_interface(source.parents[method])
        always = _ALWAYS + _BY_SYNTAX if own else _ALWAYS
        return source.ran(method.body) or name in self.selected or name in always  # type: ignore[attr-defined]  # so has a body

    def _refer(self, source: Source, node: ast.Name | ast.Attribute) -> None:
        """Want what a name or a chain of modules stands for."""
        if source.record.library and not source.did_run(node):
            return
        if isinstance(source, Ours) and isinstance(node, ast.Name):
            self.used_by_ours.setdefault(source.module, set()).add(node.id)
            if node.id in source.imported:
                return
        if isinstance(node, ast.Name):
            if self._is_of_top(source, node.id) and not source.is_local(node):
                self._want(source.module, node.id)
            return
        if isinstance(node.value, ast.Name):
            self._registered.selected.add((node.value.id, node.attr.lower()))
            if self._holds_module(source, node.value):
                self._of_any_module |= {node.attr} - {"__all__"}
        owner = source.resolve(node.value)
        if owner is None or owner.kind != "module":
            return
        if node.attr == "__dict__" and owner.value in self.sources:
            self._want_imported(source, node, owner.value)
        if f"{owner.value}.{node.attr}" in self._known:
            self.reached.add((owner.value, node.attr))
        if owner.value in self.sources:
            got = source.record.made_up.get((owner.value, node.attr))
            if (home := self.home_of(owner.value, node.attr, got)) != owner.value:
                self.lent.setdefault(owner.value, {})[node.attr] = home
            self._want_member(owner.value, node.attr, got)

    def _is_of_top(self, source: Source, name: str) -> bool:
        """Tell whether a file has a name at its top: its own, an import's, or one of a `*`."""
        if name in source.record.names or name in self._binding(source.module):
            return True
        return any(self._gives(module, name) for _, module in self.stars(source))

    def _read_local_import(self, source: Source, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.ImportFrom) and (source.did_run(node) or not source.record.library):
            module, got = source.imported_module(node), source.record.made_up
            for alias in node.names:
                self._want_member(module, alias.name, got.get((module, alias.name)))


def shell(node: ast.AST) -> list[ast.stmt]:
    """Return what is kept of a class that nobody made: the numbers and names in its body."""
    return [one for one in node.body if isinstance(one, ast.Assign | ast.AnnAssign)]  # type: ignore[attr-defined]


def packages_around(names: Collection[str]) -> set[str]:
    """Return the packages that the modules `names` stand in."""
    return {
        ".".join(name.split(".")[:count])
        for name in names
        for count in range(1, len(name.split(".")))
    }
