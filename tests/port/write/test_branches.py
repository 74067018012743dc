"""What a library decides as it is imported, and what its registries hold under a selected name."""

import numpy as np
import pytest

pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.write.files.texts import DECORATOR
from port.write.imports import with_imports
from tests.port.trial import both_outputs, recorded, written

LIBRARY = {
    "parts.nets": '''
import torch
from torch import nn

from parts.asked import NORMS, has

if has("torch.nn.functional", "tensor_of_the_future"):

    def swish(x):
        return nn.functional.tensor_of_the_future(x)

elif has("torch.nn.functional", "silu"):

    def swish(x):
        """Return x times
        its sigmoid."""
        return nn.functional.silu(x)

else:

    def swish(x):
        return unknown(x)


class Net(nn.Module):
    def __init__(self, norm=NORMS.INSTANCE):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = NORMS.rows["BATCH"](4)

    def forward(self, x):
        return swish(self.norm(self.conv(x)))


def build():
    return Net(norm="batch")
''',
    "parts.__init__": "",
    "parts.asked": """
import importlib

import torch


def has(module, name):
    return hasattr(importlib.import_module(module), name)


class Table:
    def __init__(self):
        self.rows = {}

    def add(self, name):
        def put(function):
            self.rows[name.upper()] = function
            return function

        return put

    def __getattr__(self, key):
        if key in self.rows:
            return key
        return super().__getattribute__(key)


NORMS = Table()


@NORMS.add("instance")
def instance(width):
    return torch.nn.InstanceNorm2d(width)


@NORMS.add("batch")
def batch(width):
    return torch.nn.BatchNorm2d(width)


@NORMS.add("group")
def group(width):
    return torch.nn.GroupNorm(1, width)

""",
}


def test_a_library_keeps_the_branch_that_ran_and_entries_that_are_selected(tmp_path):
    folder = tmp_path / "site-packages"
    record, net = recorded(folder, LIBRARY, "build")
    theirs, ours = both_outputs(folder, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    files, port = written(record)
    assert not [gap for gap in port.gaps if gap.ran]
    nets, tables = files["ported_parts/nets.py"], files["ported_parts/asked.py"]
    assert '\n\n\ndef swish(x):\n    """Return x times\n    its sigmoid."""\n' in nets
    assert "future" not in nets
    assert "unknown" not in nets
    assert "def has" not in tables
    assert "def instance(width):" in tables
    assert "def group" not in tables


def test_imports_are_put_before_a_function_whose_decorator_is_gone():
    text = with_imports(f"@{DECORATOR}\ndef f(x):\n    return F.relu(x)\n", ["import paddle"])
    assert text.startswith("import paddle\n@")
