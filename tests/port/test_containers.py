"""What nets do to their containers and attributes after they made them: the port does it too."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

HEAD = "import torch\nfrom torch import nn\n"
NETS = {
    "layers of a Sequential that are deleted": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1))
        del self.f[-1]
        del self.f[1]
    def forward(self, x):
        return self.f(x)
""",
    "a layer put in the place of the last": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1))
        self.f[-1] = nn.Conv2d(4, 2, 1)
        self.f[0] = nn.Conv2d(3, 4, 3, padding=1)
    def forward(self, x):
        return self.f(x)
""",
    "a layer put in the place of a named one": """
from collections import OrderedDict
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layers = [("a", nn.Conv2d(3, 4, 1)), ("b", nn.ReLU()), ("c", nn.Conv2d(4, 5, 1))]
        self.f = nn.Sequential(OrderedDict(layers))
        self.f[2] = nn.Conv2d(4, 2, 1)
    def forward(self, x):
        return self.f(x)
""",
    "slices of a Sequential, and items of a list, deleted": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(5)])
        del self.f[3:]
        self.l = nn.ModuleList([nn.Conv2d(3, 3, 1) for _ in range(4)])
        del self.l[-1]
        del self.l[0]
    def forward(self, x):
        for one in self.l:
            x = one(x)
        return self.f(x)
""",
    "layers popped": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(5)])
        self.f.pop(-1)
        self.l = nn.ModuleList([nn.Conv2d(3, 3, 1) for _ in range(4)])
        self.g = self.l.pop(-1)
    def forward(self, x):
        for one in self.l:
            x = one(x)
        return self.g(self.f(x))
""",
    "containers added, filled and extended": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        a = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
        b = nn.Sequential(nn.Conv2d(4, 3, 1))
        self.f = a + b
        self.f.insert(1, nn.Conv2d(4, 4, 1))
        self.f.append(nn.ReLU())
        self.f.extend(nn.Sequential(nn.Conv2d(3, 2, 1)))
        self.l = nn.ModuleList([nn.Conv2d(2, 2, 1)]) + nn.ModuleList([nn.Conv2d(2, 3, 1)])
        self.l += [nn.ReLU()]
    def forward(self, x):
        x = self.f(x)
        for one in self.l:
            x = one(x)
        return x
""",
    "attributes deleted, a ModuleDict popped": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 1) for _ in range(3))
        del self.b
        delattr(self, "c")
        self.d = nn.ModuleDict({"x": nn.Conv2d(3, 3, 1), "y": nn.ReLU()})
        del self.d["y"]
        self.d.pop("x")
        self.d["z"] = nn.Conv2d(3, 2, 1)
    def forward(self, x):
        return self.d["z"](self.a(x))
""",
    "a tensor in the place of its class's None": """
class Detect(nn.Module):
    stride = None
    grid: list = None
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 3, 1)
        self.register_buffer("anchors", torch.ones(2, 3))
    def forward(self, x):
        self.grid = torch.zeros(1)
        return self.c(x) * (1 if self.stride is None else self.stride.view(1, -1, 1, 1))
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.d = Detect()
        y = self.d(torch.zeros(1, 3, 4, 4))
        self.d.stride = torch.tensor([4.0 / y.shape[-1], 2.0, 3.0])
        self.d.anchors /= self.d.stride.view(1, 3)
        self.stride = self.d.stride
    def forward(self, x):
        return self.d(x) + self.stride.sum() + self.d.anchors.sum()
""",
    "tensors in the place of its class's, several at once": """
class Head(nn.Module):
    shape = None
    anchors = torch.empty(0)
    strides = torch.empty(0)
    first = last = None
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 3, 1)
    def points(self, x):
        return torch.arange(x.shape[-1]).to(x.dtype), torch.full((x.shape[-1],), 2.0, dtype=x.dtype)
    def forward(self, x):
        if self.shape != x.shape:
            self.anchors, self.strides = (one.view(1, -1) for one in self.points(x))
            self.shape = x.shape
            self.first = self.last = self.anchors * 0.5
        return self.c(x) * self.strides + self.anchors + self.first * self.last
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.d = Head()
    def forward(self, x):
        return self.d(x)
""",
}


@pytest.mark.parametrize("name", NETS)
def test_the_port_does_the_same(name, tmp_path):
    record, net = recorded(tmp_path, {"edited": HEAD + NETS[name]})
    _, port = written(record)
    assert [str(gap) for gap in port.gaps if gap.ran] == []
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
