"""A name from a stranger's file prints no verdict: on no terminal, page, or XML."""

import io
import json
import xml.etree.ElementTree as xml

import pytest

from align.judge.words import Words
from align.report.html.page import render
from align.report.junit import junit_text
from align.report.run import Run, Rung
from commands import entry
from commands.parser import complain
from common.documents import write_json
from common.streams import say
from common.terminal import screen
from common.words.controls import escaped, in_one_line, is_name

UNSHOWN = ["\x1b[2K\r", "\x07", "\x9b2J", "\x7f", "\u202e", "\u2066", "\u200f", "\u2028", "\udc80"]


@pytest.mark.parametrize("what", UNSHOWN)
def test_what_a_person_reads_is_letters(what, capsys):
    name = f"fc{what}weight 中文 ✓"
    say(name)
    complain(name)
    file = io.StringIO()
    screen(file).print(name, style="red")
    out, err = capsys.readouterr()
    for text in (out, err, file.getvalue()):
        assert what[0] not in text
        assert f"\\u{ord(what[0]):04x}" in text
        assert "中文 ✓" in text


@pytest.mark.parametrize("what", UNSHOWN)
def test_json_keeps_the_true_name(what, capsys, tmp_path):
    entry.print_json({"name": what})
    out, _ = capsys.readouterr()
    assert what[0] not in out
    assert json.loads(out) == {"name": what}
    write_json(tmp_path / "x.json", {"name": what})
    assert json.loads((tmp_path / "x.json").read_bytes().decode("utf-8")) == {"name": what}


def test_json_for_a_terminal_without_the_letters(monkeypatch):
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, "ascii", errors="backslashreplace")
    monkeypatch.setattr("sys.stdout", terminal)
    entry.print_json({"name": "é中"})
    terminal.flush()
    assert json.loads(written.getvalue().decode("ascii")) == {"name": "é中"}


@pytest.mark.parametrize("what", ["\x1b[2K", "\u202e", "\x07"])
def test_pages_and_xml(what):
    run = Run(Words.told(f"a{what}b"))
    run.rungs.append(Rung(f"c{what}d", 1, f"e{what}f", 1.0))
    text = junit_text(run)
    assert what[0] not in text
    xml.fromstring(text)
    body = render(run).partition("<body>")[2].partition("<script")[0]
    assert what[0] not in body


def test_names_are_one_line():
    assert is_name("backbone.0.weight 中")
    assert not any(
        map(is_name, ("a\nOK", "a\rOK", "a\x85", "a\u2028", "a\ud800", "a\0", "a" * 5000))
    )
    assert in_one_line("a\nb\x1b") == "a\\nb\\u001b"
    assert escaped("a\n\tb") == "a\n\tb"
