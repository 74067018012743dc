"""Layers with a `train(mode)` of their own, inside a net: it runs as the net changes its mode."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.folder import write_folder
from port.port import write_port
from tests.port.trial import both_outputs, build_port, recorded, written

HEAD = "import torch\nfrom torch import nn\n"
NETS = {
    "a table that eval mode keeps, as LeViT's": """
class Attn(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.ones(3))
    @torch.no_grad()
    def train(self, mode=True):
        super().train(mode)
        if mode and hasattr(self, "ab"):
            del self.ab
        else:
            self.ab = self.b * 2
    def forward(self, x):
        b = self.b * 2 if self.training else self.ab
        return x * b.view(1, -1, 1, 1)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(3, 3, 1), Attn())
    def forward(self, x):
        return self.f(x)
""",
    "a layer of torch's with a mode of its own, as weights that are standardized": """
class Conv(nn.Conv2d):
    def __init__(self, *args):
        super().__init__(*args)
        self.scale = 1.0
    def train(self, mode=True):
        super().train(mode=mode)
        self.scale = 3.0 if mode else 0.5
    def forward(self, x):
        return super().forward(x) * self.scale
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(Conv(3, 3, 1), nn.ReLU())
    def forward(self, x):
        return self.f(x)
""",
    "norms that stay in eval mode": """
class Back(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 3, 1)
        self.n = nn.BatchNorm2d(3)
    def train(self, mode=True):
        super().train(mode)
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()
        return self
    def forward(self, x):
        return self.n(self.c(x))
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = Back()
        self.d = nn.Dropout(0.0)
    def forward(self, x):
        return self.d(self.b(x))
""",
}


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_the_port_computes_the_same_in_each_mode(name, train, tmp_path):
    record, net = recorded(tmp_path, {"modes": HEAD + NETS[name]})
    theirs, ours = both_outputs(tmp_path, record, net, train=train)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_modes_change_back_and_forth(tmp_path):
    frozen = NETS["norms that stay in eval mode"]
    record, _ = recorded(tmp_path, {"modes": HEAD + frozen})
    write_folder(tmp_path / "ported", write_port(record), {"spec": "here", "arguments": {}})
    net = build_port(tmp_path / "ported")
    for _ in range(2):
        net.train()
        assert (net.training, net.d.training, net.b.training) == (True, True, True)
        assert not net.b.n.training
        net.eval()
        assert not any(layer.training for layer in net.sublayers(include_self=True))


def test_other_nets_keep_paddles_layer(tmp_path):
    plain = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.d = nn.Dropout(0.5)

    def forward(self, x):
        return self.d(x)
"""
    record, _ = recorded(tmp_path, {"plain": HEAD + plain})
    assert "class Net(nn.Layer):" in written(record)[0]["plain.py"]
