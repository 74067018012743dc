"""A library of many nets, each asked for by its name: the port has the one that is used."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

ASKS = """from torch import nn

import zoo


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = zoo.create("NAME")

    def forward(self, x):
        return self.trunk(x)
"""
REGISTRY = """import sys
from typing import Any, Dict, Iterable, List


class Entries(Iterable[str]):
    def __init__(self):
        self.entries = {}

    def __getitem__(self, name) -> Any:
        return self.entries[name]

    def __setitem__(self, name, entry):
        self.entries[name] = entry

    def __iter__(self):
        return iter(self.entries)


ENTRIES = Entries()


def configs(rows: Dict) -> Dict:
    return dict(rows)


def register(entry):
    module = sys.modules[entry.__module__]
    module.__all__.append(entry.__name__)
    ENTRIES[entry.__name__] = entry, module.default_cfgs[f"{entry.__name__}.a"]
    return entry


def old_names(module, names: Dict[str, str]):
    for old, new in names.items():
        ENTRIES[old] = getattr(sys.modules[module], new.split(".")[0]), {}


def create(name):
    entry, settings = ENTRIES[name]
    return entry(**settings)
"""
FAMILY = """from typing import Dict, List

from torch import nn

from ._registry import configs, old_names, register

__all__ = ["Own_FIRST"]


class Own_FIRST(nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 1)

    def forward(self, x):
        return self.conv(x)


def _cfg(**settings) -> Dict:
    return settings


default_cfgs = configs({
    # as the paper
    "FIRST.a": _cfg(width=5),
    "FIRST.b": _cfg(width=6),
    "SECOND.a": _cfg(width=7),  # wider
})


@register
def FIRST(**settings):
    return Own_FIRST(**settings)


@register
def SECOND(**settings):
    return Own_FIRST(**settings)


old_names(__name__, {"old_FIRST": "FIRST.a", "old_SECOND": "SECOND.a"})
"""


def family(name):
    return FAMILY.replace("FIRST", f"{name}1").replace("SECOND", f"{name}2")


@pytest.mark.parametrize("name", ["b1", "old_b1"])
def test_of_a_library_comes_the_net_that_is_used(tmp_path, name):
    folder = tmp_path / "site-packages"
    (folder / "zoo-1.0.dist-info").mkdir(parents=True)
    told = folder / "zoo-1.0.dist-info" / "METADATA"
    told.write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n", "utf-8")
    families = {f"zoo.models.{one}": family(one) for one in "abc"}
    stars = "".join(f"from .{one} import *\n" for one in "abc")
    texts = {
        "asks": ASKS.replace("NAME", name),
        "zoo.__init__": "from .models import create\n",
        "zoo.models.__init__": f"{stars}from ._registry import create\n",
        "zoo.models._registry": REGISTRY,
        **families,
    }
    record, net = recorded(folder, texts)
    files, port = written(record)
    assert [gap for gap in port.gaps if gap.ran] == []
    assert not {"ported_zoo/models/a.py", "ported_zoo/models/c.py"} & set(files)
    assert files["ported_zoo/models/__init__.py"].count("import *") == 1
    kept = files["ported_zoo/models/b.py"]
    if name == "b1":
        assert "b2.a" not in kept
        assert '    # as the paper\n    "b1.a": _cfg(width=5),\n    "b1.b"' in kept
    theirs, ours = both_outputs(folder, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_table_of_another_file_that_a_file_takes_over_is_filled_there(tmp_path):
    texts = {
        "asks": "from tables.nets import build\n",
        "tables.__init__": "",
        "tables.settings": 'settings = {"small": {"width": 4}}\n',
        "tables.nets": """from copy import deepcopy

import torch
from torch import nn

from .settings import settings

more = {"wide": {"width": 8}}
settings = deepcopy(settings)
for name, values in more.items():
    settings[name] = dict(values)
kinds = {"wide": {"kind": nn.Linear, "settings": settings["wide"]}}


def build():
    return kinds["wide"]["kind"](8, kinds["wide"]["settings"]["width"])
""",
    }
    record, net = recorded(tmp_path, texts, "build", shape=(2, 8))
    files, _ = written(record)
    assert "for name, values in more.items():" in files["tables/nets.py"]
    theirs, ours = both_outputs(tmp_path, record, net, shape=(2, 8))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_all_names_stay_where_code_of_the_file_reads_them(tmp_path):
    texts = {
        "asks": "from tables.nets import build\n",
        "tables.__init__": "",
        "tables.nets": """from torch import nn

__all__ = ["small", "wide"]
widths = {}
for place, name in enumerate(__all__):
    widths[name] = 2 + place


def small():
    return nn.Linear(8, widths["small"])


def wide():
    return nn.Linear(8, widths["wide"])


def build():
    return wide()
""",
    }
    record, net = recorded(tmp_path, texts, "build", shape=(2, 8))
    files, _ = written(record)
    assert '__all__ = ["small", "wide"]' in files["tables/nets.py"]
    theirs, ours = both_outputs(tmp_path, record, net, shape=(2, 8))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
