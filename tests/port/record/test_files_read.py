"""Files of settings that a net's code reads come along into the port; others do not."""

import gzip
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.folder import guide, write_folder
from port.port import write_port
from port.record.files_read import LARGEST
from tests.port.trial import both_outputs, build_port, recorded

NET = """
import json
import os
from pathlib import Path
from torch import nn

HERE = Path(__file__).resolve().parent


def read(name):
    with open(os.path.join(HERE, "settings", name)) as file:
        return json.load(file)


def unused():
    return (HERE / "settings" / "notes.txt").read_text()


WIDTHS = read("widths.json")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        (HERE / "made.txt").write_text("made here")
        (HERE / "made.txt").read_text()
        kind = (HERE / "settings" / "kind.yaml").read_text().strip()
        self.c = nn.Conv2d(3, WIDTHS["out"], 1, bias=kind == "biased")

    def forward(self, x):
        return self.c(x)
"""


def recorded_net(folder):
    settings = folder / "pkg" / "settings"
    settings.mkdir(parents=True)
    (folder / "pkg" / "__init__.py").write_text("")
    (settings / "widths.json").write_text(json.dumps({"out": 5}))
    (settings / "kind.yaml").write_bytes(b"biased\r\n")
    (settings / "notes.txt").write_text("nobody reads them")
    return recorded(folder, {"pkg.net": NET})


def test_they_stand_beside_the_modules_as_they_are(tmp_path):
    record, _ = recorded_net(tmp_path / "here")
    port = write_port(record)
    assert sorted(port.settings) == ["pkg/settings/kind.yaml", "pkg/settings/widths.json"]
    write_folder(tmp_path / "ported", port, {"spec": "here", "arguments": {}})
    (tmp_path / "here" / "pkg" / "settings" / "widths.json").unlink()
    assert (tmp_path / "ported/pkg/settings/kind.yaml").read_bytes() == b"biased\r\n"
    assert build_port(tmp_path / "ported").c.weight.shape[0] == 5
    assert "`pkg/settings/widths.json`" in guide(port, {"spec": "here"}, {})


def test_the_port_computes_the_same(tmp_path):
    record, net = recorded_net(tmp_path)
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("name", ["weights.pth", "large.json"])
def test_weights_and_what_is_large_stay(name, tmp_path):
    text = NET.replace(
        '"settings" / "kind.yaml").read_text().strip()', f'"{name}").read_text()[:6]'
    )
    (tmp_path / "pkg" / "settings").mkdir(parents=True)
    (tmp_path / "pkg" / "settings" / "widths.json").write_text(json.dumps({"out": 5}))
    (tmp_path / "pkg" / name).write_text("biased" + " " * LARGEST)
    record, _ = recorded(tmp_path, {"pkg.net": text})
    assert list(write_port(record).settings) == ["pkg/settings/widths.json"]


def test_the_files_of_a_library_stand_in_its_folder(tmp_path):
    place = tmp_path / "site-packages"
    (place / "mypack" / "cfg").mkdir(parents=True)
    (place / "mypack" / "__init__.py").write_text("")
    (place / "mypack" / "cfg" / "kind.txt").write_text("x")
    (place / "other.txt").write_text("x")
    text = (
        "import torch\nfrom pathlib import Path\nP = Path(__file__).parent\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.kind = (P / 'cfg/kind.txt').read_text()\n"
        "        (P / '../other.txt').read_text()\n"
        "    def forward(self, x):\n        return x\n"
    )
    record, _ = recorded(place, {"mypack.net": text})
    assert list(write_port(record).settings) == ["ported_mypack/cfg/kind.txt"]


WAYS = {
    "table.npy": "int(np.load(HERE / 'table.npy')[0])",
    "a.cfg": "parsed(HERE / 'a.cfg')",
    "a.txt": "int(pkgutil.get_data(__package__, 'a.txt'))",
    "b.txt": "int(importlib.resources.files(__package__).joinpath('b.txt').read_text())",
    "c.txt.gz": "int(gzip.open(os.fsencode(HERE / 'c.txt.gz')).read())",
    "d.names": "len(np.genfromtxt(HERE / 'd.names', dtype=str))",
    "e.py": "run(open(HERE / 'e.py').read())",
}
OF_WAYS = """
import configparser, gzip, importlib.resources, os, pkgutil
from pathlib import Path
import numpy as np
from torch import nn

HERE = Path(__file__).parent


def parsed(path):
    parser = configparser.ConfigParser()
    parser.read(path)
    return parser.getint("net", "out")


def run(text):
    exec(text, space := {})
    return space["out"]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, OUT, 1)

    def forward(self, x):
        return self.c(x)
"""


@pytest.mark.parametrize("name", WAYS)
def test_ways_to_read(name, tmp_path):
    place = tmp_path / "pkg" / name
    place.parent.mkdir()
    (place.parent / "__init__.py").write_text("")
    texts = {"a.cfg": "[net]\nout = 7\n", "d.names": "cat\n" * 7, "e.py": "out = 7\n"}
    if name == "table.npy":
        np.save(place, np.array([7]))
    elif name.endswith(".gz"):
        place.write_bytes(gzip.compress(b"7"))
    else:
        place.write_text(texts.get(name, "7"))
    record, _ = recorded(tmp_path, {"pkg.net": OF_WAYS.replace("OUT", WAYS[name])})
    port = write_port(record)
    assert list(port.settings) == [f"pkg/{name}"]
    write_folder(tmp_path / "ported", port, {"spec": "here", "arguments": {}})
    assert build_port(tmp_path / "ported").c.weight.shape[0] == 7
