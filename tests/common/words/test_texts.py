"""Errors are recognised by templates that stand in the source, and are said in Chinese."""

import ast
import errno
import json
import os
import re
from contextlib import suppress
from functools import cache
from itertools import chain
from string import Formatter

import pytest
from pydantic_core._pydantic_core import list_all_errors

from commands import entry
from commands.parser import CommandEnd
from common.words import language, texts
from common.words.texts import error_said, in_chinese, templates
from tests.common.words.sources import trees_of
from tests.paths import ROOT

pytestmark = pytest.mark.xdist_group("words")  # with test_language.py, which reads the same trees

ROOMS = (
    *("align", "commands", "common", "convert", "export"),
    *("paddle_impl", "tools", "torch_ref"),
)
CJK = re.compile("[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]")
PLACE = "\0"
# Sections of texts that others say, and how many of ours are put together of several strings.
OF_OTHERS = (
    "argparse's own words",
    "said by the system",
    "said by Python and libraries",
    "said by pydantic",
)
COMPOSED = 60
# Which share of the errors of a room has Chinese: a floor, to be raised.
SHARES = {"commands": 0.85, "common": 0.75, "convert": 0.8}


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setattr(language, "_chosen", [language.CHINESE])


def sections():
    return json.loads((ROOT / "common" / "words" / "errors.json").read_text("utf-8"))


def canonical(english):
    """Return a text with one mark for every place, or for places that touch."""
    parts = (
        text + (PLACE if name is not None else "") for text, name, *_ in Formatter().parse(english)
    )
    return re.sub(f"{PLACE}+", PLACE, "".join(parts))


def written(node):
    """Return what an expression of text makes, with a mark for what is not known before it runs."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return re.sub(f"{PLACE}+", PLACE, "".join(map(written, node.values)))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return re.sub(f"{PLACE}+", PLACE, written(node.left) + written(node.right))
    return PLACE


@cache
def sources():
    """Return the texts of all rooms; also those whose places are filled by `format`."""
    found = set()
    for _, tree in chain.from_iterable(map(trees_of, ROOMS)):
        for node in ast.walk(tree):
            if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
                found.add(text := written(node))
                if "{" in text and PLACE not in text:
                    with suppress(ValueError):
                        found.add(canonical(text))
    return found


def ours():
    """Yield the templates of texts of this program."""
    for name, rows in sections().items():
        if name not in OF_OTHERS:
            yield from rows


def test_every_template_stands_in_the_source():
    """As a whole, or, put together of several strings, piece by piece."""
    composed = [english for english in ours() if canonical(english) not in sources()]
    assert len(composed) <= COMPOSED
    everything = "\n".join(sources())
    lost = {
        (english, piece)
        for english in composed
        for piece in re.split(f"[{PLACE}:;,.?()\n]", canonical(english))
        if len(piece.strip()) > 2 and piece.strip() not in everything
    }
    assert lost == set()


def test_a_template_whose_text_is_gone_would_be_found():
    assert canonical("{path}: no such thing was ever said") not in sources()


@pytest.mark.parametrize("section", sections())
def test_a_template_has_its_chinese_with_the_same_places(section):
    for english, chinese in sections()[section].items():
        places = [
            sorted(name for _, name, *_ in Formatter().parse(text) if name)
            for text in (english, chinese)
        ]
        assert places[0] == places[1], english
        assert CJK.search(chinese) or not re.search("[A-Za-z]{3}", canonical(english)), english


def test_what_the_system_says_is_recognised():
    numbers = ("ENOENT", "EACCES", "EISDIR", "ENOTDIR", "EEXIST", "ENOSPC", "EROFS", "EIO")
    said = {os.strerror(getattr(errno, name)) for name in (*numbers, "ENAMETOOLONG", "ELOOP")}
    assert said == set(sections()["said by the system"])


def test_what_pydantic_says_is_recognised():
    rows = list_all_errors()
    keys = ("message_template_python", "message_template_json")
    said = {canonical(row[key]) for row in rows for key in keys if key in row}
    plural = {text.replace(f"{PLACE} character{PLACE}", f"{PLACE} character") for text in said}
    known = {canonical(english) for english in sections()["said by pydantic"]}
    assert known - said - plural == set()


WRONG_LINES = (
    *("", "x", "x --seed a", "x --seed", "x --names", "x --pair 1", "x --kind c", "x --flag=3"),
    *("x --see 1", "x --one --other", "x --bogus", "x --seed -1", "x --positive 0"),
)


@pytest.mark.parametrize("line", WRONG_LINES)
def test_what_argparse_says_is_recognised(line, chinese, capsys):
    command = entry.parser("d", "e")
    command.add_argument("config")
    command.add_argument("--seed", type=entry.not_negative)
    command.add_argument("--seen", "--positive", type=entry.positive)
    command.add_argument("--names", nargs="+")
    command.add_argument("--pair", nargs=2)
    command.add_argument("--kind", choices=("a", "b"))
    command.add_argument("--flag", action="store_true")
    either = command.add_mutually_exclusive_group(required=line == "x")
    either.add_argument("--one", action="store_true")
    either.add_argument("--other", action="store_true")
    with pytest.raises(CommandEnd):
        command.parse_args(line.split())
    said = capsys.readouterr().err.rpartition("错误：")[2].replace("not_negative", "")
    assert CJK.search(said)
    assert not re.search("[a-z]{2,} [a-z]{2,}", said)


def raised(room):
    """Yield the texts of a room's errors: those that are written where they are raised."""
    for _, tree in trees_of(room):
        for node in ast.walk(tree):
            call = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(call, ast.Call) or not call.args:
                continue
            if isinstance(node, ast.Raise) or getattr(call.func, "attr", "") == "error":
                text = written(call.args[0])
                if re.search("[A-Za-z]{2}", text):
                    yield text


@pytest.mark.parametrize("room", SHARES)
def test_most_errors_have_their_chinese(room):
    found = list(raised(room))
    fillers = ("3", "(3, 4)", "abc", "; abc", "--abc")
    known = [
        text
        for text in found
        if any(CJK.search(in_chinese(text.replace(PLACE, filler))) for filler in fillers)
    ]
    assert len(found) > 100
    assert len(known) >= SHARES[room] * len(found), sorted({*found} - {*known})


@pytest.mark.parametrize(
    ("english", "chinese_too"),
    [
        ("a.pth: no such file (/b/a.pth)", "a.pth：没有这样的文件（/b/a.pth）"),
        (
            "a.yml: unknown key train.iteration; did you mean train.iterations?\n"
            "a.yml: train.batch is 'x': Input should be a valid integer",
            "a.yml：未知的键 train.iteration；是否指 train.iterations？\n"
            "a.yml：train.batch 为 'x'：应为整数",
        ),
        (
            "could not check: ValueError: no such width (/b/net.py:5, in f). Nothing was judged: "
            "mend it there",
            "无法检查：ValueError: no such width (/b/net.py:5, in f)。没有做任何判定：请在该处修正",
        ),
        (
            "the checkpoint does not fit the net (1 of its tensors unfilled, 2 of the file's "
            "unknown):\n"
            "  a.b (3, 4): nothing in the file fills it; nearest in the file: b.weight (3, 4)\n"
            "  fc.weight: Paddle has (4, 3), file has (4, 2); is that the number of classes?\n"
            "  and 4 more",
            "检查点与网络不符（网络有 1 个张量未填入，文件有 2 个未知）：\n"
            "  a.b (3, 4)：文件中没有可填入的；文件中最接近的：b.weight (3, 4)\n"
            "  fc.weight：Paddle 中为 (4, 3)，文件中为 (4, 2)；那是类别数吗？\n"
            "  以及另外 4 个",
        ),
        (
            "the file does not fit stdc1_seg. Nearest is stdc1_seg: 3 absent from the file (a, b, "
            "c, and 5 more); 2 of another shape (d, e).\n"
            "3 names would fit without 'x.'. In PyTorch, with the state dict:\n    state = {}",
            "文件与 stdc1_seg 不符。最接近的是 stdc1_seg：文件中缺少 3 个（a, b, c "
            "等，另有 5 个）；形状不同 2 个（d, e）。\n"
            "3 个名字去掉 'x.' 就相符。在 PyTorch 中处理 state dict：\n    state = {}",
        ),
        ("argument --seed: -1 is negative", "参数 --seed：-1 是负数"),
        (
            "data.augmentation.torch my.shapes:flipp: my.shapes has no flipp; it has augment",
            "data.augmentation.torch my.shapes:flipp：my.shapes 中没有 flipp；其中有 augment",
        ),
        (
            "the checkpoint does not fit the net:\n  a (5,): nothing in the file fills it\n"
            "Where only the names differ, a rules file says which is which (docs/rules.md).",
            "检查点与网络不符：\n  a (5,)：文件中没有可填入的\n"
            "只是名字不同时，由规则文件说明哪个对应哪个（docs/rules.md）。",
        ),
        (
            "the checkpoint does not fit the net (2 of its tensors unfilled, 3 of the file's "
            "unknown)",
            "检查点与网络不符（网络有 2 个张量未填入，文件有 3 个未知）",
        ),
        ("the port cannot run on this input: x (1)", "移植网络 无法在此输入上运行：x (1)"),
    ],
)
def test_errors_are_said_by_their_parts(english, chinese_too, chinese):
    assert error_said(english) == chinese_too


@pytest.mark.parametrize(
    "text",
    [
        "somebody's own words, which nobody knows",
        "a: b",
        "data: train",
        "",
        "two lines\nof a net",
    ],
)
def test_what_is_not_known_stays_as_it_is(text, chinese):
    assert error_said(text) == text


def test_names_of_the_users_stay_as_they_are(chinese):
    """A file may be called as a word of the table is, or hold its marks."""
    assert error_said("data: no such file") == "data：没有这样的文件"
    assert error_said("{path}: no such file") == "{path}：没有这样的文件"


def test_in_english_nothing_is_read(monkeypatch):
    monkeypatch.setattr(language, "_chosen", [language.ENGLISH])
    monkeypatch.setattr(texts, "_read", None)
    assert error_said("a.pth: no such file") == "a.pth: no such file"
    assert texts.help_said("options") == "options"


def test_of_templates_that_fit_the_one_that_says_most_is_meant():
    letters = [row.letters for row in templates()]
    assert letters == sorted(letters, reverse=True)
