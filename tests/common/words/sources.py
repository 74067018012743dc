"""The rooms' code as trees, parsed once for the tests of words."""

import ast
from functools import cache

from tests.paths import ROOT


@cache
def trees_of(room):
    """Return [(file, tree)] of all code in a room."""
    paths = sorted((ROOT / room).rglob("*.py"))
    return [(path, ast.parse(path.read_text("utf-8"))) for path in paths]
