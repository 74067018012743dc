"""Where code is written, of modules that stand aside because others have their names."""

import importlib.util
import sys

import pytest

from common import places
from common.places import is_ours, loaded_modules, place_of, where_written

TEXT = """import functools

class Scale:
    def forward(self, x):
        return x

def make():
    class Inner:
        pass
    return Inner

class ConversionError(Exception):
    pass
"""


@pytest.fixture
def aside(tmp_path, monkeypatch):
    """A user's module called `common.errors`, which stands aside: ours is loaded."""
    path = tmp_path / "errors.py"
    path.write_text(TEXT)
    spec = importlib.util.spec_from_file_location("common.errors", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(places.ASIDE, "common.errors", module)
    return module


def test_classes_of_a_module_that_stands_aside_are_found_in_their_file(aside):
    ours = sys.modules["common.errors"]
    assert place_of(aside.Scale) == f"{aside.__file__}:3"
    assert place_of(aside.Scale.forward) == f"{aside.__file__}:4"
    assert place_of(aside.make()) == f"{aside.__file__}:8"
    assert where_written(aside.Scale).text.startswith("class Scale:")
    # A class that both modules have is looked for where it is.
    assert place_of(aside.ConversionError) == f"{aside.__file__}:12"
    assert where_written(ours.ConversionError).file == ours.__file__
    assert sys.modules["common.errors"] is ours


def test_what_nobody_wrote_down_has_no_place():
    assert where_written(len) is None
    assert where_written(type("Made", (), {"__module__": "nowhere"})) is None
    assert place_of(type("Made", (), {"__module__": "nowhere"})) == ""


def test_code_is_ours_by_its_file_not_by_its_name(aside):
    assert not is_ours(aside.Scale.forward)
    assert is_ours(place_of)
    assert not is_ours(len)


def test_modules_that_stand_aside_are_loaded(aside):
    loaded = list(loaded_modules().values())
    assert aside in loaded
    assert sys.modules["common.errors"] in loaded
