"""Options that take numbers refuse what makes no sense, all of them by the types of one file."""

import argparse

import pytest

from commands import numbers
from common.words import language
from common.words.texts import error_said
from tests.paths import TOOL_NAMES

NO_NUMBERS = ("nan", "inf", "1e999", "9" * 5000, "", "x", "-1", "-0.5", "1x", "0x10", "1,nan")
# Of these 0 has a meaning of its own.
MAY_BE_0 = {"--seed", "--timeout", "--workers", "--objects", "--batch", "--at-least"}


def numeric(parser):
    """Yield the options of a parser that take numbers."""
    for action in parser._actions:
        assert action.type not in (int, float), f"{action.option_strings} take nan or -1"
        if getattr(action.type, "__module__", "") == numbers.__name__:
            yield action


def refusal(parser, action, text):
    """Return the line by which an option refuses `text`, "" where it does not."""
    try:
        parser._get_value(action, text)
    except argparse.ArgumentError as error:
        return error.message
    return ""


@pytest.mark.parametrize("tool", TOOL_NAMES)
def test_what_is_no_number_is_refused(tool, parser_of, monkeypatch):
    parser = parser_of(tool)
    monkeypatch.setattr(language, "_chosen", [language.CHINESE])
    for action in numeric(parser):
        for text in NO_NUMBERS:
            said = refusal(parser, action, text)
            assert said.startswith("expected "), (action, text)
            assert len(said) < 130, said
            assert error_said(said).startswith("应为"), said
        if not refusal(parser, action, "0"):
            assert MAY_BE_0 & set(action.option_strings), action


def test_the_ranges():
    assert (numbers.seed("4294967295"), numbers.seconds("0"), numbers.score("1")) == (
        2**32 - 1,
        0,
        1,
    )
    assert numbers.size_hw("512x256") == (256, 512)
    assert numbers.shape_dhw("32x64X96") == (32, 64, 96)
    assert numbers.factors("0.75,1") == (0.75, 1)
    for read, text in (
        *((numbers.seed, "4294967296"), (numbers.seconds, "1e9"), (numbers.score, "1.01")),
        *((numbers.size_hw, "512"), (numbers.size_hw, "1x2x3"), (numbers.shape_dhw, "0x1x1")),
        *((numbers.share, "1.5"), (numbers.factor, "5"), (numbers.positive, str(2**31))),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match="expected "):
            read(text)


def test_the_watcher_takes_what_its_command_takes(monkeypatch):
    from commands import guard

    for words, seconds in ((["--timeout", "7"], 7), (["--timeout", "nan"], guard.TIMEOUT)):
        monkeypatch.setattr("sys.argv", ["align_forward.py", *words])
        assert guard._timeout() == seconds
