"""Which net of each framework a folder's Python files hold; nothing of them is run."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CRITERIA = ("loss", "entropy", "criterion", "dice")  # parts of the names of losses
BASES = {"torch": "Module", "paddle": "Layer"}  # the class that a net is of
_NETS = ("net", "model")  # parts of the names of functions that build one


def nets_in(folder: Path, framework: str) -> list[str]:
    """Return "module:name" of each net of a framework in the Python files of `folder`.

    A function that builds it, or a file's last class of modules. Where no file of the folder itself
    has one, its packages are looked at. A file from which another one with a net imports holds
    parts of that, and criteria are no nets.
    """
    for pattern in ("*.py", "[!.]*/*.py"):
        found = _files(folder, pattern, framework)
        nets = {module: _nets_of(tree, framework) for module, tree in found.items()}
        used = {name for module in nets if nets[module] for name in _imported_from(found[module])}
        whole = [m for m in nets if nets[m] and not set(m.split(".")[-1:]) & used]
        if whole:
            return [f"{module}:{nets[module]}" for module in whole]
    return []


def parsed(path: Path) -> ast.Module | None:
    """Return the code of a file, None where it cannot be read as Python."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None


def _files(folder: Path, pattern: str, framework: str) -> dict[str, ast.Module]:
    """Return {module: its code} of the files that use a framework, those of criteria not."""
    found = {}
    for path in sorted(folder.glob(pattern)):
        module = ".".join(path.relative_to(folder).with_suffix("").parts)
        tree = parsed(path) if module.replace(".", "").isidentifier() else None
        if tree is not None:
            found[module] = tree
    using = {module for module, tree in found.items() if framework in _imported(tree)}
    while more := {m for m in found if _all_names_of(found[m]) & {u.split(".")[-1] for u in using}}:
        if more <= using:
            break
        using |= more
    return {m: found[m] for m in found if m in using and not _is_criterion(m.split(".")[-1])}


def _all_names_of(tree: ast.Module) -> set[str]:
    """Return the last parts of the modules that code imports all names of, torch's `nn` too."""
    return {
        (node.module or "").split(".")[-1]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    }


def _nets_of(tree: ast.Module, framework: str) -> str:
    """Return the function that builds a file's net, else its last class of modules, "" for none."""
    named = {node.name: node for node in tree.body if hasattr(node, "name")}
    nets = [name for name, node in named.items() if _is_net(node, named, framework)]
    classes = [name for name in nets if not _is_criterion(name)]
    builders = [name for name, node in named.items() if _builds(node, classes)]
    return (builders or classes[-1:] or [""])[0]


def _builds(node: Any, classes: list[str]) -> bool:
    """Tell whether a function builds a net: by its name, or as it calls one of the classes."""
    if not isinstance(node, ast.FunctionDef) or not node.name.startswith("build"):
        return False
    called = {ast.unparse(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
    told = node.name == "build" or any(word in node.name.lower() for word in _NETS)
    return told or bool(called & set(classes))


def _is_criterion(name: str) -> bool:
    return any(word in name.lower() for word in CRITERIA)


def _imported_from(tree: ast.Module) -> Iterator[str]:
    """Yield the last parts of the names of modules that code imports from, and what it imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[-1]
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.name.split(".")[-1] for alias in node.names)


def _imported(tree: ast.Module) -> set[str]:
    """Return the packages that code imports from."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def _is_net(node: Any, named: Mapping[str, Any], framework: str) -> bool:
    bases = [ast.unparse(base) for base in getattr(node, "bases", ())]
    return any(
        base.split(".")[-1] == BASES[framework]
        or (base in named and named[base] is not node and _is_net(named[base], named, framework))
        for base in bases
    )
