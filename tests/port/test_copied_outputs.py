"""What a library's net returns is copied: by the judge, and by whoever keeps it."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.folder import write_folder
from port.port import write_port
from tests.port.trial import build_port, recorded

TEXTS = {
    "asks": """from torch import nn

from outs import Net


class Asks(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, x):
        return self.net(x)
""",
    "outs": """from collections import OrderedDict
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import nn


class Output(OrderedDict):
    def __post_init__(self):
        for field in fields(self):
            self[field.name] = getattr(self, field.name)

    def __reduce__(self):
        if not is_dataclass(self):
            return super().__reduce__()
        made, _, *rest = super().__reduce__()
        return made, tuple(getattr(self, one.name) for one in fields(self)), *rest


@dataclass
class Sampled(Output):
    sample: Any


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return Sampled(sample=self.conv(x))
""",
}


def test_how_an_output_is_copied_comes_along_and_what_that_needs(tmp_path):
    folder = tmp_path / "site-packages"
    (folder / "outs-1.0.dist-info").mkdir(parents=True)
    told = folder / "outs-1.0.dist-info" / "METADATA"
    told.write_text("Metadata-Version: 2.1\nName: outs\nVersion: 1.0\n", "utf-8")
    record, _ = recorded(folder, TEXTS, "Asks")
    write_folder(tmp_path / "copied_port", write_port(record), {"spec": "here", "arguments": {}})
    out = build_port(tmp_path / "copied_port")(paddle.ones([2, 3, 8, 8]))
    again = copy.copy(out)
    assert type(again) is type(out)
    np.testing.assert_array_equal(again["sample"].numpy(), out.sample.numpy())
