"""What libraries print below Python can be kept off the screen."""

import os

import pytest

from common.streams import set_aside
from tests.paths import TOOLS


def test_what_is_set_aside_is_told_and_not_shown(capfd):
    os.write(1, b"before ")
    with set_aside() as told:
        os.write(1, b"aside ")
        os.write(2, b"from below")
        assert told() == "aside from below"
    os.write(1, b"after")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("before after", "")


def test_the_streams_come_back_where_it_raises(capfd):
    with pytest.raises(ZeroDivisionError), set_aside():
        raise ZeroDivisionError
    os.write(1, b"shown")
    assert capfd.readouterr().out == "shown"


# What these read are files; no code of a user's runs in them.
NO_OTHER_CODE = {"compare_runs", "make_toy_cityscapes", "make_toy_volumes", "panoptic_quality"}
NO_OTHER_CODE |= {"report", "_checkout"}


def test_every_command_that_runs_others_code_keeps_its_prints_apart():
    """A net, a loss or a data set that prints would break --json."""
    for tool in TOOLS.glob("*.py"):
        text = tool.read_text("utf-8")
        apart = "run(main, apart=True)" in text or "run_guarded(main" in text
        assert apart == (tool.stem not in NO_OTHER_CODE), tool.name
