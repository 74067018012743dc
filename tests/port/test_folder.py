"""The folder of a port, written a second time."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from port.folder import ASKED, write_folder
from port.port import Port, WrittenFile

QUESTION = {"spec": "net:build", "arguments": {}}


def port_of(*paths):
    return Port([WrittenFile(path, "WIDTH = 4\n") for path in paths], ("net", "build"))


def test_what_an_earlier_port_wrote_and_this_one_has_not_is_removed(tmp_path):
    folder = tmp_path / "mine"
    write_folder(folder, port_of("net.py", "parts/old.py"), QUESTION)
    (folder / "notes.py").write_text("# the user's own\n")
    write_folder(folder, port_of("net.py", "parts/new.py"), QUESTION)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    assert there == {"__init__.py", "builder.py", "net.py", "notes.py", "parts/new.py"}


@pytest.mark.parametrize("told", ["{", "[]", '{"files": ["../out.py", 3, "/out.py"]}'])
def test_nothing_outside_a_folder_is_removed(tmp_path, told):
    folder, outside = tmp_path / "mine", tmp_path / "out.py"
    folder.mkdir()
    outside.write_text("")
    (folder / ASKED).write_text(told)
    write_folder(folder, port_of("net.py"), QUESTION)
    assert outside.exists()
    assert "net.py" in json.loads((folder / ASKED).read_text())["files"]
