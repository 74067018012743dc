"""Nets that a string names: looked up among the globals of a file, or in what holds them."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from port.meanings import value_spelled
from tests.port.trial import both_outputs, recorded, written

NETS = """
import torch
from torch import nn

__all__ = ["small", "large"]


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 1)

    def forward(self, x):
        return self.conv(x).relu()


def small():
    return Net(4)


def large():
    return Net(8)
"""
OF_GLOBALS = """
def build():
    name = "small"
    return globals()[name]() if name in globals() else None
"""
OF_A_STRING = """
def build():
    return eval("sm" + "all")()
"""
OF_A_FILE = """
import {0}_held


def build():
    return {0}_held.__dict__["small"]()
"""


@pytest.mark.parametrize("imported", ["small, large", "*"])
@pytest.mark.parametrize("factory", [OF_GLOBALS, OF_A_STRING, OF_A_FILE])
def test_what_ran_under_a_name_is_imported_under_it(factory, imported, tmp_path):
    name = f"named{[OF_GLOBALS, OF_A_STRING, OF_A_FILE].index(factory)}{len(imported)}"
    line = f"from {name}_nets import {imported}\n"
    held = factory is OF_A_FILE
    texts = {f"{name}_factory": factory.format(name) if held else line + factory}
    texts |= {f"{name}_held": line} if held else {}
    record, net = recorded(tmp_path, {**texts, f"{name}_nets": NETS}, "build")
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    assert "def large" not in written(record)[0][f"{name}_nets.py"]


def test_a_function_that_always_says_no_stands_as_a_value():
    assert value_spelled(["torch.compiler.is_exporting"]).text == "(lambda: False)"


TABLES = """
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self, norm="BatchNorm2d"):
        super().__init__()
        layers = [vars(nn)["Conv2d"](3, 4, 1), nn.__dict__[norm](4)]
        self.layers = nn.Sequential(*layers, nn.modules.activation.__dict__["SiLU"]())
        self.act = F.__dict__["gelu"]

    def forward(self, x):
        return vars(F)["max_pool2d"](self.act(self.layers(x)), 2)
"""


def test_torchs_own_tables_of_names_are_asked_by_them(tmp_path):
    record, net = recorded(tmp_path, {"tables": TABLES})
    files, port = written(record)
    text = files["tables.py"]
    assert not port.gaps
    for line in (
        "[nn.Conv2D(3, 4, 1), recorded_name(norm, BatchNorm2d=nn.BatchNorm2D)(4)]",
        "nn.Silu()",
        "self.act = F.gelu",
        "return F.max_pool2d(self.act",
    ):
        assert line in text, text
    np.testing.assert_allclose(*both_outputs(tmp_path, record, net), rtol=1e-9)
