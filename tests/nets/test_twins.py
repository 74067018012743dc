"""`torch_ref` and `paddle_impl` are the same text but for the frameworks' spelling."""

import ast
from pathlib import Path

import pytest

from tests.paths import ROOT

# Only what a framework has and the other has not may stand on one side alone.
ONE_SIDED = {
    "models/backbones/stdc.py": {"STDCNet._alias_stages"},  # second names in the authors' files
}
FOLDERS = ("models", "losses")


def twins(room: str) -> list[str]:
    """Return the files of a room that must be the other's text, as seen from the room."""
    found = [path for folder in FOLDERS for path in (ROOT / room / folder).rglob("*.py")]
    return sorted(path.relative_to(ROOT / room).as_posix() for path in found)


def outline(path: Path) -> dict[str, list[str]]:
    """Return {class or function: attributes it assigns, in order}, in file order."""
    found: dict[str, list[str]] = {}

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
                name = f"{prefix}{child.name}"
                found[name] = [] if isinstance(child, ast.ClassDef) else assigned(child)
                walk(child, f"{name}.")

    def assigned(function: ast.FunctionDef) -> list[str]:
        targets = [
            target.attr
            for node in ast.walk(function)
            if isinstance(node, (ast.Assign, ast.AnnAssign))
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Attribute)
        ]
        return targets + [argument.arg for argument in function.args.args]

    walk(ast.parse(path.read_text()), "")
    return found


@pytest.mark.parametrize("name", twins("torch_ref"))
def test_twins_have_the_same_outline(name):
    torch_side = outline(ROOT / "torch_ref" / name)
    paddle_side = outline(ROOT / "paddle_impl" / name)
    for one_sided in ONE_SIDED.get(name, ()):
        torch_side.pop(one_sided, None)
        paddle_side.pop(one_sided, None)
    assert list(torch_side) == list(paddle_side)
    assert torch_side == paddle_side


def test_both_sides_have_the_same_files():
    names = twins("torch_ref")
    assert names == twins("paddle_impl")
    assert {name.split("/")[0] for name in names} == set(FOLDERS)
