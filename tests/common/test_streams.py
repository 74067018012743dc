"""What libraries print below Python can be kept off the screen."""

import os

import pytest

from common.streams import set_aside


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
