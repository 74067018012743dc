"""Every kind of words stands in both languages, and nobody writes or searches free sentences."""

import ast
import re
from collections.abc import Iterator
from string import Formatter

import pytest

from align.judge.words import Cause, Words, in_both, joined, listed, table
from tests.paths import ROOT

CODE = sorted(path for room in ("align", "commands") for path in (ROOT / room).rglob("*.py"))
# What makes words, by the name by which the code calls it, and the class of what it makes.
MAKERS = ("Words", "Cause", "named")


def places(text):
    """Return {place for a value, how it is written} of a row's text."""
    return {(name, how) for _, name, how, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("kind", table())
def test_every_kind_has_both_languages_with_the_same_values(kind):
    english, chinese = table()[kind]
    assert english
    assert chinese
    assert places(english) == places(chinese)
    assert "kind" not in {name for name, _ in places(english)}
    assert not re.search("[\u4e00-\u9fff]", english)


def test_every_sentence_is_translated():
    same = [kind for kind, (english, chinese) in table().items() if english == chinese]
    assert sorted(same) == ["betas", "code", "code_and", "epsilon", "off_where", "told"]


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield (kind, call) of each call in which words of a literal kind are made."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            first = node.args[0] if node.args else None
            if node.func.id in MAKERS and isinstance(first, ast.Constant):
                yield str(first.value), node


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_made_with_the_values_of_their_kind(path):
    for kind, call in calls(ast.parse(path.read_text("utf-8"))):
        asked = {name for name, _ in places(table()[kind][0])}
        given = {keyword.arg for keyword in call.keywords}
        assert given == asked or None in given, f"{path}:{call.lineno}: {kind}"


def test_every_kind_is_said_somewhere():
    changes = ROOT / "convert" / "plan" / "account.py"  # what became of tensors is a kind each
    texts = "\n".join(path.read_text("utf-8") for path in (*CODE, changes))
    unsaid = [kind for kind in table() if f'"{kind.removesuffix("_at")}"' not in texts]
    assert not unsaid


def is_text(node: ast.AST) -> bool:
    """Tell whether an expression is a text that no kind is known of."""
    if isinstance(node, ast.BinOp):
        return is_text(node.left) or is_text(node.right)
    if isinstance(node, ast.IfExp):
        return is_text(node.body) or is_text(node.orelse)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def is_cause(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "cause"


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_cause_is_a_free_sentence_and_none_is_searched(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assert not (any(map(is_cause, targets)) and is_text(node.value)), node.lineno
        if isinstance(node, ast.keyword) and node.arg == "cause":
            assert not is_text(node.value), node.value.lineno
        if isinstance(node, ast.Compare):
            searched = any(isinstance(op, (ast.In, ast.NotIn)) for op in node.ops)
            assert not (searched and any(map(is_cause, node.comparators))), node.lineno
        if isinstance(node, ast.Attribute) and is_cause(node.value):
            known = {"also", "begins", "has", "kind", "values"}
            assert node.attr in known, f"{node.lineno}: {node.attr}"


def test_words_know_what_they_are_made_of():
    cause = Cause("no_gradient").also(Cause("scaled", factor=Words("times", factor=2.0)))
    assert cause == (
        "no gradient arrives here: detached, or never used; it is 2 times the reference's"
    )
    assert cause.has("times")
    assert not cause.has("shape")
    assert cause.begins("no_gradient")
    assert not cause.begins("scaled")
    assert Cause.from_dict(cause.to_dict(), cause).to_dict() == cause.to_dict()


def test_causes_are_joined_once_each():
    one, other = Cause("no_gradient"), Cause("padding")
    assert joined([]) is joined([None]) is None
    assert joined([one, None, one]) is one
    assert joined([one, other, one]) == one.also(other)
    assert in_both(listed([one, other]))[1] == f"{one.chinese}，{other.chinese}"


@pytest.mark.parametrize(("value", "text"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_a_value_that_is_no_number_is_said(value, text):
    assert Words("times", factor=value) == f"{text} times"
    assert Words.from_dict({"kind": "times", "factor": text}, f"{text} times").kind == "times"


def test_words_take_the_values_of_their_kind_and_no_others():
    with pytest.raises(KeyError):
        Words("shape", port=1)
    with pytest.raises(ValueError, match="no place"):
        Words("shape", port=1, reference=2, other=3)
