"""Python files that are read as settings come along; what imports, and what needs torch, stays."""

import py_compile

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.folder import write_folder
from port.port import write_port
from tests.port.trial import both_outputs, build_port, recorded

UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH
# A reader of settings: from a copy in a folder for it, with those that they are based on.
READER = """
import os
import shutil
import sys
import tempfile
from importlib import import_module


def read(name):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(name, os.path.join(folder, "copied_settings.py"))
        sys.path.insert(0, folder)
        module = import_module("copied_settings")
        sys.path.pop(0)
        del sys.modules["copied_settings"]
    found = {k: v for k, v in vars(module).items() if not k.startswith("__")}
    for base in found.pop("_base_", []):
        found = {**read(os.path.join(os.path.dirname(name), base)), **found}
    return found
"""
NET = """
import os
from torch import nn
from tool.reader import read

HERE = os.path.dirname(os.path.abspath(__file__))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, WIDTH, 1)

    def forward(self, x):
        return self.c(x)
"""
COPIED = "read(os.path.join(HERE, '..', 'configs', 'net.py'))['model']['out']"
LOADED = "loaded(os.path.join(HERE, '..', 'configs', 'base.py')).width"
LOADER = """
import importlib.util

def loaded(path):
    spec = importlib.util.spec_from_file_location("settings_of_it", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Net("""


def recorded_net(folder, width=COPIED, base="width = 5\n"):
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    text = "_base_ = ['./base.py']\nmodel = dict(out=4)\n"
    (folder / "configs" / "net.py").write_text(text)
    (folder / "configs" / "base.py").write_text(base)
    (folder / "configs" / "unread.py").write_text("width = 6\n")
    net = NET.replace("WIDTH", width)
    net = net.replace("\nclass Net(", LOADER) if "loaded(" in width else net
    return recorded(folder, {"pkg.net": net, "tool.reader": READER})


def test_a_copied_file_comes_along_with_its_bases(tmp_path):
    record, net = recorded_net(tmp_path)
    port = write_port(record)
    assert sorted(port.settings) == ["configs/base.py", "configs/net.py"]
    assert not port.gaps
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_file_that_a_line_loads_by_its_path(compiled, tmp_path):
    if compiled:  # Python then opens this alone
        place = tmp_path / "here" / "configs" / "base.py"
        place.parent.mkdir(parents=True)
        place.write_text("width = 5\n")
        py_compile.compile(place, invalidation_mode=UNCHECKED)
    record, _ = recorded_net(tmp_path / "here", LOADED)
    port = write_port(record)
    assert list(port.settings) == ["configs/base.py"]
    write_folder(tmp_path / "ported", port, {"spec": "here", "arguments": {}})
    assert build_port(tmp_path / "ported").c.weight.shape[0] == 5


@pytest.mark.parametrize(
    ("base", "line", "api"),
    [
        ("width = 5\nimport torch.nn as nn\n", 2, "torch.nn"),
        ("\n\nfrom tool import reader\nwidth = 5\n", 3, "tool"),
    ],
)
def test_what_needs_torch_or_the_ported_is_told_with_its_place(base, line, api, tmp_path):
    record, _ = recorded_net(tmp_path, base=base)
    port = write_port(record)
    assert list(port.settings) == ["configs/net.py"]
    (gap,) = port.gaps
    assert (gap.where.file, gap.where.line, gap.api, gap.ran) == (
        tmp_path / "configs" / "base.py", line, api, True,
    )  # fmt: skip


def test_modules_and_lines_that_are_shown_are_none(tmp_path):
    width = "len(__import__('linecache').getlines(os.path.join(HERE, 'more.py')))"
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "more.py").write_text("a = 1\nb = 2\nc = 3\n")
    record, _ = recorded_net(tmp_path, width)
    assert write_port(record).settings == {}
