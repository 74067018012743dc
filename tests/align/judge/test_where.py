"""One parser reads which tensor is meant: nobody tests the text itself."""

import ast

import pytest

from align.judge.comparison import Comparison
from align.judge.where import Where
from tests.paths import ROOT

TEXTS = {
    "output:0": Where("output", "0"),
    "grad_input:1": Where("grad_input", "1"),
    "grad:body.conv.weight": Where("grad", "body.conv.weight"),
    "slot:weight.moment": Where("slot", "weight.moment"),
    "input:number": Where("input", "number"),
    "lr": Where("lr"),
    "output": Where("output"),
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_meant_is_read_and_written(text):
    assert Where.of(text) == TEXTS[text]
    assert str(TEXTS[text]) == text
    assert Comparison("a", "a#0", text, "layer").at == TEXTS[text]


def test_gradients_are_those_of_the_backward_pass():
    assert [text for text, where in TEXTS.items() if where.is_gradient] == [
        "grad_input:1",
        "grad:body.conv.weight",
    ]


def test_the_module_of_a_tensor_is_the_way_to_it():
    assert Where.of("grad:body.conv.weight").module == "body.conv"
    assert Where.of("buffer:mean").module == ""


PARSING = {"startswith", "endswith", "partition", "rpartition", "split", "replace", "removeprefix"}


def is_where(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name == "where"


@pytest.mark.parametrize("path", sorted((ROOT / "align").rglob("*.py")), ids=lambda path: path.stem)
def test_nobody_else_takes_the_text_apart(path):
    if path.name == "where.py":
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in PARSING:
            assert not is_where(node.value), node.lineno
        if isinstance(node, ast.Subscript):
            assert not is_where(node.value), node.lineno
        if isinstance(node, ast.Compare):
            texts = any(isinstance(one, (ast.Constant, ast.JoinedStr)) for one in node.comparators)
            own = is_where(node.left) and isinstance(node.left, ast.Attribute)
            assert not (own and texts), node.lineno
