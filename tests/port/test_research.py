"""Idioms of segmentation repositories: written without a gap, and the same on both sides."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

NETS = {}
NETS["norms that users derive"] = """
from torch.nn.modules.batchnorm import _BatchNorm


class OfImages(_BatchNorm):
    def _check_input_dim(self, input):
        if input.dim() != 4:
            raise ValueError("an image has four axes")


class WithActivation(nn.BatchNorm2d):
    def __init__(self, width, slope=0.01, **kwargs):
        super().__init__(width, **kwargs)
        self.slope = slope

    def forward(self, x):
        return F.leaky_relu(super().forward(x), self.slope)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            OfImages(3), WithActivation(3), WithActivation(3, eps=1e-3, momentum=0.2)
        )
        for layer in self.body:
            layer.eps = 0.5

    def forward(self, x):
        return self.body(x)
"""
NETS["a setting of layers of several classes"] = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.LayerNorm(8), nn.Dropout(0.5)])
        self.convs = nn.ModuleList([nn.Conv2d(3, 3, 3), nn.MaxPool2d(3, 1), nn.Identity()])
        for layer in self.norms:
            layer.eps = 1e-3
        for layer in self.convs:
            layer.padding = 1

    def forward(self, x):
        for layer in (*self.norms[:2], *self.convs):
            x = layer(x)
        return x
"""
NETS["hooks that are taken off again"] = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        seen = []
        handle = self.conv.register_forward_hook(lambda layer, inputs, output: seen.append(output))
        y = self.conv(x)
        handle.remove()
        return y + seen[0] + self.conv(x) * len(seen)
"""
NETS["a set of data beside the net"] = """
from torch.autograd import Variable
from torch.nn.parallel import DistributedDataParallel
from torch.utils import data


class Streets(data.Dataset):
    CLASSES = 4

    def __getitem__(self, index):
        return torch.zeros(3)


SETS = {"streets": Streets}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, SETS["streets"].CLASSES, 1)
        self.weights = Variable(torch.ones(2), requires_grad=True)
        if isinstance(self.conv, (nn.DataParallel, DistributedDataParallel)):
            self.conv = self.conv.module

    def forward(self, x):
        return self.conv(x) * F.softmax(self.weights, dim=0)[0].item()
"""
WRITES = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def act(self, x, kind):
        if kind == "relu":
            return F.relu(x, inplace=True)
        if kind == "leaky":
            x = F.leaky_relu(x, 0.1, inplace=True)
        elif kind == "none":
            x = x + 1
        return x

    def forward(self, x):
        x = self.act(self.conv(x), "relu") - 0.5
        y = self.act(self.act(x, "leaky"), "none")
        for number in range(3):
            if number == 0:
                F.relu_(y)
            else:
                y = y + number
        return y
"""


@pytest.mark.parametrize("name", NETS)
def test_it_computes_the_same(name, tmp_path):
    record, net = recorded(tmp_path, {"research": HEAD + NETS[name]})
    port = written(record)[1]
    assert not [gap for gap in port.gaps if gap.ran]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_what_no_way_leads_to_is_not_read_later(tmp_path):
    """Behind a `return` and in the other branch nothing reads what was written into."""
    record, net = recorded(tmp_path, {"research": HEAD + WRITES})
    text = written(record)[0]["research.py"]
    assert "return F.relu(x)" in text
    assert ":=" not in text
    assert "y = F.relu_(y)" in text  # the loop comes back to it
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_class_that_takes_torchs_arguments_refuses_what_paddle_has_not(tmp_path):
    from port.write.torch_like import torch_like

    made = torch_like(["torch.nn.BatchNorm2d"])
    space = {"nn": __import__("paddle").nn}
    exec(made.source, space)
    with pytest.raises(NotImplementedError, match="track_running_stats=False"):
        space["BatchNorm2d"](3, track_running_stats=False)
    assert space["BatchNorm2d"](3, momentum=0.25, affine=False)._momentum == 0.75
