"""Every word that commands print has its Chinese, and --lang or the locale chooses."""

import ast
import re
from itertools import chain

import pytest
import yaml

from common.words import language
from common.words.language import both, phrase, phrases, recognised, said
from tests.common.words.sources import trees_of
from tests.paths import ROOT

ROOMS = ("align", "commands", "common", "convert", "export", "port", "tools")
CHINESE = re.compile("[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]")
# The same word in both languages.
NAMES = {"SHA-256", "BatchNorm", "--no-verify", "float32", "torch", "mIoU", "{count} {kind}"}
# Functions of which an argument is a phrase: its place.
SAYING = {"phrase": 0, "both": 0, "drawn": 0, "_row": 1, "begin": 0, "_rung": 0}


@pytest.fixture
def chosen(monkeypatch):
    monkeypatch.setattr(language, "_chosen", [])
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def spoken():
    """Return {phrase: where} of all texts that code asks the table for."""
    found = {}
    for path, tree in chain.from_iterable(map(trees_of, ROOMS)):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = SAYING.get(name, 99)
            if name == "begin" and getattr(getattr(node.func, "value", None), "id", "") == "budget":
                continue
            if len(node.args) > place and isinstance(node.args[place], ast.Constant):
                text = node.args[place].value
                if isinstance(text, str) and text:
                    found[text] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def test_every_phrase_of_the_code_is_in_the_table():
    found = spoken()
    assert len(found) > 80
    assert {text: where for text, where in found.items() if text not in phrases()} == {}


def told():
    """Return the texts that are made where no language is known."""
    from align.judge.kernels import KERNELS
    from commands.align.rungs import LADDER, STAGES
    from common.terminal import PARTS, UNITS
    from convert.plan.plan import COUNTER_REASON
    from convert.starting_weights import _OLD

    for row in KERNELS:
        yield f"{row.function}: {row.why}"
    yield from (row.name for row in LADDER)
    yield from (*STAGES, *UNITS.values(), *PARTS.values(), COUNTER_REASON, _OLD)
    for path in (ROOT / "convert" / "rules").glob("*.yml"):
        rules = yaml.safe_load(path.read_text("utf-8"))
        yield from rules.get("notes", ())
        for rows in rules.values():
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, dict) and "reason" in row:
                    yield row["reason"]


def test_what_is_told_elsewhere_is_recognised():
    strange = [text for text in told() if not CHINESE.search(recognised(text))]
    assert strange == []


def test_heads_labels_and_verdicts_are_in_the_table():
    from align.judge import comparison
    from align.report import changes

    kinds = {comparison.EQUAL, comparison.DIFFERS, comparison.NOISE, comparison.UNCHECKED}
    kinds |= {changes.MENDED, changes.NEW, changes.STILL, changes.GONE}
    kinds |= {"good", "part", "compared", "worst", "allowed", "adds up to", "plain run", "rung"}
    labels = ast.parse((ROOT / "common" / "training" / "notes.py").read_text("utf-8"))
    for node in ast.walk(labels):
        if isinstance(node, ast.Tuple) and isinstance(node.elts[0], ast.Constant):
            kinds.add(node.elts[0].value)
    assert {kind for kind in kinds if isinstance(kind, str)} - set(phrases()) == set()


@pytest.mark.parametrize("english", phrases())
def test_a_phrase_has_its_chinese_with_the_same_places(english):
    chinese = phrases()[english]
    assert CHINESE.search(chinese) or chinese == english or english in NAMES
    assert chinese != english or english in NAMES
    assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", chinese))


def test_the_first_variable_that_is_set_says_the_locale(chosen):
    assert phrase("good") == "good"
    chosen.setenv("LANG", "zh_CN.UTF-8")
    assert phrase("good") == said("good") == "通过"
    chosen.setenv("LC_ALL", "C")
    assert phrase("good") == "good"
    language.choose("zh")  # says more than the locale
    assert phrase("{count} calls", count=3) == "3 次调用"
    language.choose("en")
    assert both("{count} calls", count=3) == ["3 calls", "3 次调用"]


def test_phrases_with_places_are_recognised_where_they_are_told():
    assert recognised("second name of a.b") == "a.b 的别名"
    assert recognised("torch and paddle not installed") == "未安装 torch 和 paddle"
    text = "a process that read images was ended"
    assert recognised(text) == text
    assert recognised("3 calls") == "3 calls"  # of this program's own, who knows the language


def test_a_phrase_that_nobody_knows_is_an_error():
    with pytest.raises(KeyError):
        phrase("no such phrase")
