"""The house stands as docs/architecture.md says: no circles, no heaps, frameworks at the edges.

What one room may import of another stands in pyproject.toml, `make imports` holds it. Here every
import counts, lazy and type-only ones too.
"""

import ast
import importlib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.nursery import run_script
from tests.paths import ROOT

ROOMS = ("common", "torch_ref", "paddle_impl", "convert", "export", "port", "align", "commands")
FRAMEWORKS = ("torch", "paddle")
TWINS = {"torch_ref", "paddle_impl"}  # their files are named alike on purpose
MOST_FILES = 14  # in a folder, its __init__ among them
ROW_FOLDERS = {"models", "backbones", "losses", "tools"}  # one file a row of a table


def module_of(path: Path) -> str:
    """Return the dotted name of a file of the project."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def files() -> dict[str, Path]:
    """Return {module: file} of all rooms."""
    return {module_of(p): p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))}


@cache
def tree_of(module: str) -> ast.Module:
    """Return the parsed file of a module."""
    return ast.parse(files()[module].read_text("utf-8"))


def imported(module: str) -> Iterator[str]:
    """Yield what a file names in its imports, wherever in it they stand, with the names taken."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative imports hide where a thing is"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def graph() -> dict[str, set[str]]:
    """Return {module: modules of the rooms that it imports}; a package stands for its __init__.

    Who imports of a package that it is not in imports the package, too.
    """
    found: dict[str, set[str]] = {}
    for module in files():
        names = {n if n in files() else n.rpartition(".")[0] for n in imported(module)}
        around = {name for other in names for name in packages(other)} - packages(module)
        found[module] = {name for name in names | around if name in files() and name != module}
    return found


def packages(module: str) -> set[str]:
    """Return the packages around a module."""
    parts = module.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other: R. Tarjan, SIAM J. Comput. 1 (1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            place = stack.index(node)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in number:
            visit(node)
    return found


def test_circles_are_found():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert sorted(circles(edges)) == [["a", "b", "c"], ["d", "e"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_no_circle_of_imports():
    assert circles(graph()) == []


def at_the_top(module: str) -> set[str]:
    """Return what a file imports as it is loaded: modules, and the packages around each."""
    found = set()
    for node in tree_of(module).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name}" for name in names]
            for name in names:
                parts = name.split(".")
                found |= {".".join(parts[:k]) for k in range(1, len(parts) + 1)}
    return {name for name in found & files().keys() if not f"{module}.".startswith(f"{name}.")}


def test_every_module_can_be_the_first_that_is_imported():
    assert circles({module: at_the_top(module) for module in files()}) == []


def test_no_folder_is_a_heap():
    counts: dict[Path, int] = defaultdict(int)
    for path in files().values():
        counts[path.parent] += 1
    heaps = {
        str(folder.relative_to(ROOT)): count
        for folder, count in counts.items()
        if count > MOST_FILES and folder.name not in ROW_FOLDERS
    }
    assert heaps == {}


def test_frameworks_are_imported_in_files_named_after_them_only():
    """Lazily or not. A file without the suffix may import such a file, inside a function."""
    offenders = []
    for module in files():
        if module.partition(".")[0] in TWINS:
            continue
        for name in imported(module):
            framework = name.partition(".")[0]
            if framework in FRAMEWORKS and not module.endswith(f"_{framework}"):
                offenders.append(f"{module} imports {name}")
    assert offenders == []


def test_a_file_named_after_a_framework_does_not_import_the_other():
    wrong = [
        f"{module} imports {name}"
        for module in files()
        for name in imported(module)
        for framework, other in (FRAMEWORKS, FRAMEWORKS[::-1])
        if module.endswith(f"_{framework}") and name.partition(".")[0] == other
    ]
    assert wrong == []


def classes() -> Iterator[tuple[str, str]]:
    """Yield (name, module) of the public classes of the rooms."""
    for module in files():
        for node in tree_of(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, module


def idea(module: str) -> str:
    """Return the module without its framework: the two halves of one idea are one."""
    for framework in FRAMEWORKS:
        module = module.removesuffix(f"_{framework}")
    room, _, rest = module.partition(".")
    return f"twins.{rest}" if room in TWINS else module


def test_no_class_name_stands_for_two_things():
    places: dict[str, set[str]] = defaultdict(set)
    for name, module in classes():
        places[name].add(idea(module))
    assert {name: sorted(where) for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("room", ["align", "convert"])
def test_every_public_name_imports(room):
    names = importlib.import_module(room).__all__
    assert names == sorted(names)
    exec(f"from {room} import *", found := {})
    assert set(names) <= set(found)


# Imports `samples`, each as the first of the rooms, then `modules` one after the other.
ALONE = """
import importlib, sys
sys.path.insert(0, {root!r})
for framework in {installed!r}:
    importlib.import_module(framework)
def load(module):
    try:
        importlib.import_module(module)
    except BaseException as error:
        print(f"{{module}}: {{type(error).__name__}}: {{error}}", flush=True)
for module in {samples!r}:
    for name in [name for name in sys.modules if name.partition(".")[0] in {rooms!r}]:
        del sys.modules[name]
    load(module)
for module in {modules!r}:
    load(module)
"""
ROOM_OF = {"torch": "torch_ref", "paddle": "paddle_impl"}


def test_every_module_imports(tmp_path):
    """All in one process, and one of every room first; circles there are none, see below."""
    installed = [name for name in FRAMEWORKS if find_spec(name)]
    absent = {
        part for name in FRAMEWORKS if name not in installed for part in (name, ROOM_OF[name])
    }
    modules = [
        module
        for module in files()
        if not absent & {name.partition(".")[0] for name in (module, *imported(module))}
    ]
    inner = [module for module in modules if files()[module].parent.parent != ROOT]
    samples = list({module.partition(".")[0]: module for module in inner}.values())
    parts = {"installed": installed, "modules": modules, "samples": samples, "rooms": ROOMS}
    (tmp_path / "alone.py").write_text(ALONE.format(root=str(ROOT), **parts))
    done = run_script(tmp_path / "alone.py", cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_tools_parse_and_call():
    """Scripts that people type import commands, and nothing of the rooms below."""
    rooms = set(ROOMS) - {"commands"}
    offenders = []
    for path in (ROOT / "tools").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            offenders += [f"{path.name} imports {n}" for n in names if n.split(".")[0] in rooms]
    assert offenders == []
