"""Errors are recognised by templates that stand in the source, and are said in Chinese."""

import ast
import errno
import json
import os
import re
from contextlib import suppress
from functools import cache
from itertools import chain, cycle
from string import Formatter

import pytest
from pydantic_core._pydantic_core import list_all_errors

from commands import entry, numbers
from commands.parser import CommandEnd
from common.words import language, texts
from common.words.texts import error_said, in_chinese, templates
from tests.common.words.sources import trees_of
from tests.paths import ROOT

ROOMS = (
    *("align", "commands", "common", "convert", "export"),
    *("paddle_impl", "port", "tools", "torch_ref"),
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
COMPOSED = 71
# Which share of the errors of a room has Chinese: a floor, to be raised.
SHARES = dict.fromkeys(
    ("commands", "common", "convert", "export", "torch_ref", "paddle_impl"), 0.97
)
LEAST = 20  # errors in a room


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
    command.add_argument("--seed", type=numbers.not_negative)
    command.add_argument("--seen", "--positive", type=numbers.positive)
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


def filled(text):
    """Yield a text with values in its places: of one kind, or of numbers and shapes by turns."""
    shape = "(3, 4)"
    kinds = (("3",), (shape,), ("abc",), ("; abc",), ("--abc",), ("3", shape), (shape, "3", "3"))
    for values in (*kinds, ("3", shape, "3", "3")):
        turns = cycle(values)
        yield re.sub(PLACE, lambda _, turns=turns: next(turns), text)


@pytest.mark.parametrize("room", SHARES)
def test_most_errors_have_their_chinese(room):
    found = list(raised(room))
    known = [text for text in found if any(map(CJK.search, map(in_chinese, filled(text))))]
    assert len(found) >= LEAST
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
        (
            "argument --seed: expected a whole number from 0 to 4294967295, got '-1'",
            "参数 --seed：应为 0 到 4294967295 的整数，得到 '-1'",
        ),
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
            "a.png: expected 0..18 and 255 (does not count) in a label of 19 classes, got 19 in 7 "
            "pixels, 40 in 2 pixels; are the classes numbered from 1? Then set "
            "data.reduce_zero_label: true; correct the label, or set data.ignore_index to the one "
            "value that does not count, or map every value there is by data.label_map",
            "a.png：19 类的标签中应为 0..18 and 255（不计分），得到 19（7 个像素）, 40（2 个像素）"
            "；类别是否从 1 开始编号？若是，请设置 data.reduce_zero_label: true；请改正该标签；"
            "或把唯一不计的值写作 data.ignore_index；或用 data.label_map 映射所有出现的值",
        ),
        (
            "a.png: expected the train ids 0..18 and 255 of the Cityscapes table, got 20 (1 "
            "pixel), 40 (17 pixels)",
            "a.png：应为 Cityscapes 表中的训练 id 0..18 和 255，得到 20（1 个像素）, "
            "40（17 个像素）",
        ),
        (
            "a.png: expected the label ids 0..33 of the Cityscapes table, got 255 (3 pixels); 255 "
            "is a train id: is this a labelTrainIds file?",
            "a.png：应为 Cityscapes 表中的标签 id 0..33，得到 255（3 个像素）；255 是训练 id："
            "这是 labelTrainIds 文件吗？",
        ),
        (
            "metric: label must be 0..18 or 255 (void), got -1 (4 such pixels)",
            "指标：label 应为 0..18 或 255（忽略），得到 -1（有 4 个这样的像素）",
        ),
        (
            "RANK=4 and WORLD_SIZE=4 name no process: expected 0 to 3; start it by `torchrun x`",
            "RANK=4 与 WORLD_SIZE=4 没有指明任何进程：应为 0 到 3；请用 `torchrun x` 启动",
        ),
        (
            "an iteration has 4 batches of 2 images (data.cards 2 x data.iter_size 2), which 3 "
            "processes cannot share evenly. Numbers that fit: 1, 2, 4. 8 images of an iteration do "
            "not divide by 3 either",
            "一次迭代有 4 个批次，每个 2 张图像（data.cards 2 x data.iter_size 2），3 个进程无法"
            "均分。可启动的进程数：1, 2, 4。每次迭代的 8 张图像也不能被 3 整除",
        ),
        (
            "fc of a.b: the file has (3, 4), there is no such tensor in the net",
            "a.b 的 fc：文件中为 (3, 4)，网络中没有这样的张量",
        ),
        (
            "outputs: expected logits [N, C, h, w], or several of one C, got [[2, 3], 'int']; "
            "loss.maps=1 takes the first 1 alone",
            "输出：应为 logits [N, C, h, w]，或 C 相同的若干个，得到 [[2, 3], 'int']；"
            "loss.maps=1 只取前 1 个",
        ),
        (
            "/d, split train: photos without label: a, b, and 3 more; labels without photo: c. Add "
            "what is missing, or take out its partner",
            "/d，划分 train：没有标签的照片：a, b 等，另有 3 个；没有照片的标签：c。"
            "请补上缺少的，或去掉与之配对的文件",
        ),
        (
            "a.tif: a label may be a TIFF of one page, of 8 or 16 bits, whose values are as they "
            "are stored; this one has 3 pages: write it as PNG from its source",
            "a.tif：标签可以是单页、8 或 16 位、数值按原样保存的 TIFF；而此文件有 3 页："
            "请由原始数据写成 PNG",
        ),
        (
            "enet cannot be exported for free sizes: its code needs numbers in `int(x)` (a.py:3): "
            "no int. Give --size HEIGHT WIDTH, each of the form 8k + 1, once for every size that "
            "you need",
            "enet 不能以自由尺寸导出：其代码需要具体的数，见 `int(x)`（a.py:3）：no int。"
            "请给出 --size HEIGHT WIDTH（均为 8k + 1 的形式），每个所需尺寸一次",
        ),
        (
            "processes.sync_norm is '^a', which is found in no BatchNorm; did you mean b? There "
            "are 1: b, ...",
            "processes.sync_norm 为 '^a'，没有 BatchNorm 的名称与之匹配；是否指 b？共有 1 个：b 等",
        ),
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
