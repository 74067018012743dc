"""How the tests are shared out among workers."""

import pytest

from tests.conftest import TOGETHER, ByFile
from tests.paths import ROOT

seen: set[int] = set()


def unit_of(nodeid):
    return ByFile._split_scope(None, nodeid)


def test_a_file_is_one_unit_of_work_and_some_files_are_one_together():
    assert unit_of("tests/a.py::test_x[b::c]") == unit_of("tests/a.py::Kind::test_y")
    assert unit_of("tests/a.py::test_x") != unit_of("tests/b.py::test_x")
    first, second = [file for file, group in TOGETHER.items() if group == "words"]
    assert unit_of(f"{first}::test_x") == unit_of(f"{second}::test_y")


def test_files_that_are_together_are_there():
    assert [file for file in TOGETHER if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize("part", range(4))
def test_parts_of_a_file_see_what_the_parts_before_left(part, pytestconfig):
    """A part on a worker of its own would see nothing: 9.2 of pytest and 3.8 of xdist did that."""
    if not hasattr(pytestconfig, "workerinput"):
        pytest.skip("there is one worker")
    assert seen == set(range(part))
    seen.add(part)
