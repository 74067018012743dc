"""A class with a call that has no spelling gets its forward from its graph, and computes alike."""

import importlib
import re
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from port.folder import guide, write_folder
from port.port import write_port
from port.record.record_torch import run
from port.trace.aten import row_of
from port.trace.trace_torch import traced_classes
from tests.port.trial import IMAGE, MODES, build_port, outputs, recorded

pytestmark = [pytest.mark.prove, pytest.mark.timeout(900)]

NET = """import torch
from torch import nn
from torch.nn import functional as F


def odd(x):
    return torch.special.entr(x)


class Block(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.width = width
        self.conv = nn.Conv2d(width, out, 3, padding=1)
        self.norm = nn.BatchNorm2d(out)
        self.act = nn.ReLU(inplace=True)
        self.gain = nn.Parameter(torch.ones(out))

    def forward(self, x, scale=2.0):
        n, c, h, w = x.shape
        y = self.act(self.norm(self.conv(x)))
        y = odd(y.sigmoid() / scale)
        y = F.dropout(y, 0.0, self.training)
        y = y.view(n, self.width, -1, h * w).transpose(1, 2)
        y = y + torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)
        y[:, 0] *= 2
        return y.reshape(n, -1, h, w) * self.gain[None, :, None, None]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = Block(3, 6), Block(6, 12)

    def forward(self, x):
        return self.two(self.one(x))
"""


def _graphs(folder, places):
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        net = importlib.import_module("unspelled").Net()
        image = np.random.default_rng(0).standard_normal(IMAGE)
        return traced_classes(
            net, lambda: [run(net, [image], mode) for mode in MODES], places, row_of
        )
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("unspelled", None)


def test_a_class_is_written_from_its_graph(tmp_path):
    record, net = recorded(tmp_path, {"unspelled": NET})
    gaps = [gap for gap in write_port(record).gaps if gap.ran]
    assert [gap.api for gap in gaps] == ["torch.special.entr"]
    graphs = _graphs(tmp_path, {(str(gap.where.file), gap.where.line) for gap in gaps})
    assert [one.name for one in graphs] == ["Block"]
    port = write_port(record, traced=graphs)
    assert port.untraced == []
    assert [gap for gap in port.gaps if gap.ran] == []
    text = next(file.text for file in port.files if file.path == "unspelled.py")
    assert "def odd" not in text
    assert "self.act(self.norm(" not in text
    assert "norm_out = self.norm(conv_out)" in text
    assert "self.width" in text.partition("def forward")[2]
    told = guide(port, {"spec": "here"}, {})
    assert re.search(r"`Block.forward`: eval and train mode; x of \[any, (any|3), any, any\]", told)
    place = tmp_path / "port_unspelled"
    write_folder(place, port, {"spec": "here", "arguments": {}})
    ported = build_port(place).to(dtype="float64")
    net.double()
    fill_port(LiveReference(net), ported, None)
    for train in (False, True):  # which changes statistics, in Paddle by another factor
        for image in (IMAGE, (3, 3, 6, 10)):
            array = np.random.default_rng(1).standard_normal(image)
            theirs, ours = outputs(net, ported, array, train)
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match=r"scale is .*; this code was traced with"):
        ported.one(paddle.zeros([1, 3, 4, 4], dtype="float64"), 3.0)
