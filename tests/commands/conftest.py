"""What tests of commands begin with."""

import runpy
import shutil
import sys

import pytest

from commands.parser import Parser
from tests.commands.own_recipe import EXAMPLE
from tests.paths import TOOLS


@pytest.fixture
def mine(tmp_path):
    """Return the folder of a copy of the example."""
    folder = tmp_path / "mine"
    shutil.copytree(EXAMPLE, folder)
    return folder


class Parsed(Exception):
    """A tool came to read its command line."""


@pytest.fixture
def parser_of(monkeypatch):
    """Return a function that returns the parser of a tool, by the name of its script."""

    def stop(self, *arguments, **more):
        raise Parsed(self)

    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(Parser, name, stop)
    monkeypatch.syspath_prepend(TOOLS)

    def parser(tool):
        monkeypatch.setattr(sys, "argv", [f"{tool}.py"])
        with pytest.raises(Parsed) as caught:
            runpy.run_path(str(TOOLS / f"{tool}.py"), run_name="tool")["main"]()
        return caught.value.args[0]

    return parser
