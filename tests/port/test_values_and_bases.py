"""Functions of torch that stand as values, its private bases, layers made by their names."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

HEAD = """
import importlib
import operator
from functools import partial, reduce

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.loss import _Loss, _WeightedLoss
from torch.nn.modules.utils import _ntuple, _pair
"""
NETS = {
    "functions as values": """
def applied(f, *args, **kwargs):
    return f(*args, **kwargs)
class Net(nn.Module):
    def __init__(self, linear=F.linear, join=torch.cat):
        super().__init__()
        self.linear, self.join = linear, join
        self.pad = partial(F.pad, pad=(1, 1, 1, 1), mode="reflect")
        self.ways = {"sum": torch.add, "mul": torch.mul, "dot": torch.matmul}
        self.w = nn.Parameter(torch.randn(5, 3))
        for f in (nn.init.ones_, nn.init.zeros_):
            f(self.w)
    def forward(self, x):
        y = self.linear(x.permute(0, 2, 3, 1), self.w).permute(0, 3, 1, 2)
        y = self.join([self.pad(y), applied(F.pad, y, (2, 0, 1, 1), value=0.5)], 1)
        y = reduce(torch.mul, [y, y, y]) + self.ways["sum"](y, y)
        y = self.ways["dot"](y, y.transpose(2, 3))
        return applied(torch.cat, [y, y], dim=1)
""",
    "private bases": """
class Centred(_ConvNd):
    def __init__(self, i, o, k, stride=1, padding=0):
        k, stride, padding = map(_pair, (k, stride, padding))
        super().__init__(i, o, k, stride, padding, _pair(1), False, _pair(0), 1, True, "zeros")
    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)
class Mean(nn.modules.loss._Loss):
    def forward(self, x):
        return x.sum() if self.reduction == "sum" else x.mean()
class Weighted(_WeightedLoss):
    def __init__(self, weight=None, reduction="mean"):
        super().__init__(weight, reduction=reduction)
    def forward(self, x):
        x = x if self.weight is None else x * self.weight.view(1, -1, 1, 1)
        return x if self.reduction == "none" else x.mean()
class Scaled(_DropoutNd):
    def forward(self, x):
        return x * (1 - self.p)
class Grid(nn.modules.pooling._AdaptiveAvgPoolNd):
    def forward(self, x):
        return F.adaptive_avg_pool2d(x, self.output_size)
class Largest(nn.modules.pooling._MaxPoolNd):
    def forward(self, x):
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)
class Norm(nn.modules.batchnorm._NormBase):
    def forward(self, x):
        mean, var = self.running_mean[:, None, None], self.running_var[:, None, None]
        return (x - mean) / (var + self.eps).sqrt() * self.weight[:, None, None] + self.momentum
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Centred(3, 4, _ntuple(2)(3), padding=1)
        self.more = nn.Sequential(Grid(4), Largest(2, 1), Norm(4, momentum=0.2))
        self.mean, self.one = Mean(reduction="sum"), Weighted(torch.arange(4.0))
        self.none, self.scaled = Weighted(reduction="none"), Scaled(0.5)
        for m in self.modules():
            if isinstance(m, (_DropoutNd, nn.modules.pooling._MaxPoolNd)):
                m.p = 0.25
    def forward(self, x):
        x = self.more(self.scaled(self.conv(x)))
        return self.none(x) * self.mean(x) + self.one(x)
""",
    "layers by their names": """
def found(name):
    module, cls = name.rsplit(".", 1)
    return getattr(importlib.import_module(module, package=None), cls)
def built(config):
    return found(config["target"])(**config.get("params", dict()))
def by_text(name, *args, **kwargs):
    return eval(name)(*args, **kwargs)
class Own(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 1)
    def forward(self, x):
        return self.conv(x)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        params = dict(in_channels=3, out_channels=4, kernel_size=3, bias=False)
        self.a = built({"target": "torch.nn.Conv2d", "params": params})
        self.b = built({"target": "torch.nn.ReLU"})
        self.c = by_text("Own", 4)
        self.d = by_text("nn.BatchNorm2d", 4, momentum=0.2)
        self.e = nn.Sequential(*[eval("nn." + a + "()") for a in ("ReLU6", "LeakyReLU")])
        self.f = eval("nn.PReLU(num_parameters=4, init=0.1)")
        self.g = nn.ModuleList([eval(t) for t in ("Own(4)", "nn.Conv2d(4, 4, kernel_size=1)")])
    def forward(self, x):
        return self.g[1](self.g[0](self.f(self.e(self.d(self.c(self.b(self.a(x))))))))
""",
}


@pytest.mark.parametrize("kind", NETS)
def test_the_port_computes_the_same(kind, tmp_path):
    torch.manual_seed(0)
    record, net = recorded(tmp_path, {"by_value": HEAD + NETS[kind]}, modes=("eval",))
    _, port = written(record)
    assert not [str(gap) for gap in port.gaps]
    np.testing.assert_allclose(*both_outputs(tmp_path, record, net), rtol=1e-6, atol=1e-6)


def test_a_text_that_computes_with_torch_is_a_gap(tmp_path):
    lines = "class Net(nn.Module):\n    def forward(self, x):\n"
    text = f'{HEAD}{lines}        return eval("nn.ReLU(inplace=not self.training)")(x)\n'
    record, _ = recorded(tmp_path, {"by_text": text}, modes=("eval",))
    _, port = written(record)
    assert [gap.api for gap in port.gaps if gap.ran] == ["eval"]
