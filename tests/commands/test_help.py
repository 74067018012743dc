"""--help and argparse's own words are Chinese where Chinese is printed."""

import re
import textwrap

import pytest

from commands import entry
from commands.parser import CommandEnd
from common.words import language
from common.words.texts import help_said, help_texts
from tests import nursery
from tests.paths import ROOT, TOOL_NAMES

CJK = re.compile("[\u4e00-\u9fff]")
# Three words of English, one behind the other, that are no code.
SENTENCE = re.compile(r"(?<![`\w./:-])[A-Za-z][a-z]+(?: [a-z]+){2,}")


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setattr(language, "_chosen", [language.CHINESE])


def texts_of(parser):
    """Yield what --help of a tool says in words."""
    yield parser.description
    for group in parser._action_groups:
        yield from filter(None, (group.title, group.description))
    yield from (action.help for action in parser._actions if action.help)


@pytest.mark.parametrize("tool", TOOL_NAMES)
def test_every_text_of_a_help_has_its_chinese(tool, parser_of, chinese):
    parser = parser_of(tool)
    assert [text for text in texts_of(parser) if not CJK.search(help_said(text))] == []
    shown = parser.format_help()
    assert SENTENCE.findall(shown.partition("\n示例:\n")[0]) == []
    assert not re.search("usage:|options:|example:|exit:", shown)
    usage = parser.format_usage()
    assert usage.startswith(f"用法: {tool}.py [-h]")


def test_every_text_of_the_table_is_of_a_help(parser_of):
    said = {text for tool in TOOL_NAMES for text in texts_of(parser_of(tool))}
    code = "".join(path.read_text("utf-8") for path in (ROOT / "commands").rglob("*.py"))
    left = {text for text in help_texts() if text not in said and text.strip() != "usage:"}
    assert {text for text in left if text.partition(";")[0].partition("\n")[0] not in code} == set()


def test_english_is_what_argparse_makes_of_it(parser_of, monkeypatch):
    monkeypatch.setattr(language, "_chosen", [language.ENGLISH])
    shown = parser_of("export").format_help()
    assert shown.startswith("usage: export.py [-h]")
    assert "show this help message and exit" in shown
    assert not CJK.search(shown)


@pytest.mark.parametrize("words", [("--lang", "zh"), ("--lang=zh",)])
def test_the_language_is_known_before_the_command_line_is_read(words):
    """Where an error comes before --lang, and in a tool that reads options and places mixed."""
    done = nursery.run("align_stage", "--seed", "many", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("用法: align_stage.py [-h]")
    assert "align_stage.py: 错误：" in done.stderr
    assert nursery.run("train_paddle", "--help", *words).stdout.startswith("用法: train_paddle.py")


def test_a_value_of_another_option_chooses_no_language(monkeypatch):
    monkeypatch.setattr(language, "_chosen", [])
    for arguments in ([], ["--lang"], ["--lang", "fr"], ["zh"], ["--language=zh"]):
        language.choose_by(arguments)
    assert language._chosen == []


def test_lines_of_chinese_fit_the_terminal(monkeypatch, chinese):
    monkeypatch.setenv("COLUMNS", "60")
    command = entry.parser("d", "e")
    command.add_argument("--early-argmax", help=next(t for t in help_texts() if "borders" in t))
    lines = command.format_help().rpartition("--early-argmax")[2].partition("\n\n")[0].splitlines()
    assert len(lines) > 2
    for line in lines[1:]:
        assert sum(2 if ord(letter) > 0x2E80 else 1 for letter in line) <= 60
        assert line.strip()[0] not in "，。；：）"


def test_lines_of_english_are_argparses(monkeypatch):
    monkeypatch.setattr(language, "_chosen", [language.ENGLISH])
    command = entry.parser("d", "e")
    text = "two words " * 30
    formatter = command._get_formatter()
    assert formatter._split_lines(text, 40) == textwrap.wrap(text, 40)


def test_the_usage_of_mixed_arguments_is_whole(chinese, capsys):
    command = entry.parser("d", "e")
    command.prog = "a_tool.py"
    command.add_argument("config", nargs="+")
    with pytest.raises(CommandEnd):
        command.parse_intermixed_args(["--no-such-option"])
    assert capsys.readouterr().err.startswith("用法: a_tool.py [-h]")
