"""`torch_ref` and `paddle_impl` are the same text but for the frameworks' spelling."""

import ast
from pathlib import Path

import pytest

from tests.paths import ROOT

# Only what a framework has and the other has not may stand on one side alone.
ONE_SIDED = {
    "models/backbones/stdc.py": {"STDCNet._alias_stages"},  # second names in the authors' files
    "models/detection/solo.py": {"SOLO.train"},  # Paddle's takes no mode
    # Paddle makes slots in the first step only, and takes bfloat16 as bits; torch's tensors have a
    # device of their own.
    "train.py": {"make_slots", "_as_held", "to_tensors"},
}
FILES = ("train.py",)
FOLDERS = ("models", "losses")


def twins(room: str) -> list[str]:
    """Return the files of a room that must be the other's text, as seen from the room."""
    found = [path for folder in FOLDERS for path in (ROOT / room / folder).rglob("*.py")]
    found += [ROOT / room / name for name in FILES]
    return sorted(path.relative_to(ROOT / room).as_posix() for path in found)


def outline(path: Path) -> dict[str, list[str]]:
    """Return {class or function: attributes it assigns, in order}, in file order."""
    found: dict[str, list[str]] = {}

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
                name = f"{prefix}{child.name.replace('Torch', 'Paddle')}"
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
    assert {name.split("/")[0] for name in names} == {*FOLDERS, *FILES}


def test_the_half_without_a_framework_stands_once():
    """A function of both `train.py` that is letter for letter equal belongs to `common`."""
    sides = [functions(ROOT / room / "train.py") for room in ("torch_ref", "paddle_impl")]
    same = {name for name in sides[0] if sides[0][name] == sides[1].get(name)}
    # These call the framework under the name that it has in both files.
    assert same == {"_resize"}


def functions(path: Path) -> dict[str, str]:
    """Return {function: its text without annotations and docstring}."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            body = node.body[ast.get_docstring(node) is not None :]
            names = [argument.arg for argument in node.args.args]
            found[node.name] = f"{names}{[ast.dump(statement) for statement in body]}"
    return found
