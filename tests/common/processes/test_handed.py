"""A user's objects for another process, of modules that are called as ours."""

import importlib.util
import pickle
from functools import partial

import pytest

from common import errors, places
from common.errors import DataError
from common.processes import handed, users_modules
from common.processes.handed import packed, unpacked

TEXT = """
class Data:
    class Inner:
        pass
    def __init__(self):
        self.inner = self.Inner()
    def __getitem__(self, index):
        return index + 1

def double(x):
    return 2 * x
"""


@pytest.fixture
def aside(tmp_path, monkeypatch):
    """A user's module called `common.errors`; whoever asks for it by name gets it."""
    (tmp_path / "errors.py").write_text(TEXT)
    spec = importlib.util.spec_from_file_location("common.errors", tmp_path / "errors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(places.ASIDE, "common.errors", module)
    monkeypatch.setattr(handed, "import_users", {"common.errors": module}.__getitem__)
    monkeypatch.setattr(handed, "watch_imports", lambda: None)
    monkeypatch.setattr(users_modules, "_worlds", object())
    return module


def test_what_stands_aside_arrives_and_ours_stays_ours(aside):
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(aside.Data())
    data, twice, ours = unpacked(packed((aside.Data(), partial(aside.double, 4), DataError)))
    assert type(data) is aside.Data
    assert type(data.inner) is aside.Data.Inner
    assert (data[1], twice()) == (2, 8)
    assert ours is errors.DataError


def test_what_cannot_be_loaded_there_is_an_error_of_the_data(aside, monkeypatch):
    data = packed(aside.Data())
    monkeypatch.setattr(handed, "import_users", {}.__getitem__)
    with pytest.raises(DataError, match=r"cannot be read by other processes: KeyError.*workers: 0"):
        unpacked(data)


def test_without_modules_of_a_users_nothing_is_watched():
    assert packed([1])[:1] == b"o"
    assert unpacked(packed([1])) == [1]
