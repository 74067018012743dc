"""What Paddle holds in float32 stands in five tables; the head of one lists them all."""

import ast
import importlib
import re

import pytest

from align.judge import kernels
from tests.paths import ROOT

HEAD = kernels.__doc__.partition("five tables")[2]
LISTED = re.findall(r"^- `([\w.]+)\.(\w+)`", HEAD, flags=re.M)
HOLDS = re.compile(r"\b(holds?|held|takes?|rounds?|rounded)\b[^.]*\bfloat32\b", re.S)


def test_the_head_lists_five_tables():
    assert len(LISTED) == len(set(LISTED)) == 5
    assert ("align.judge.kernels", "KERNELS") in LISTED


@pytest.mark.parametrize(("module", "name"), LISTED)
def test_each_is_where_the_head_says(module, name):
    if module.endswith("_paddle"):
        pytest.importorskip("paddle")
    assert len(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("name", re.findall(r"`(\w+)`", HEAD))
def test_the_functions_that_it_names_exist(name):
    files = [ROOT.joinpath(*module.split(".")).with_suffix(".py") for module, _ in LISTED]
    assert any(f"def {name}(" in path.read_text("utf-8") for path in files)


def _tables(path):
    """Yield the names of collections that say, in or above them, what is held in float32.

    Of a module whose head says so, every collection counts.
    """
    text = path.read_text("utf-8")
    tree, lines = ast.parse(text), text.splitlines()
    head = HOLDS.search(ast.get_docstring(tree) or "")
    for node in tree.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        literal = isinstance(node.value, (ast.Tuple, ast.Dict, ast.DictComp, ast.Set, ast.List))
        made = isinstance(node.value, ast.Call) and "frozenset" in ast.unparse(node.value.func)
        if not isinstance(target, ast.Name) or not (literal or made):
            continue
        above = node.lineno - 1
        while above and lines[above - 1].startswith("#"):
            above -= 1
        said = "\n".join(lines[above : node.end_lineno])
        if head or HOLDS.search(said):
            yield target.id


def test_there_is_no_sixth():
    found = {
        (".".join(path.relative_to(ROOT).with_suffix("").parts), name)
        for room in ("align", "common")
        for path in (ROOT / room).rglob("*.py")
        for name in _tables(path)
    }
    assert found == set(LISTED)
