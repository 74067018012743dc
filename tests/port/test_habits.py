"""Habits of research code, each in a small net: the port computes what the reference computes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

HABITS = {
    "a number of a file whose names all come by a star": {
        "net": """
from settings import *


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 1)

    def forward(self, x):
        return self.conv(x)
""",
        "settings": "import os\n\nWIDTH = 4\nFOLDER = os.sep\n",
    },
    "a convolution's stride and dilation set to a number": {
        "net": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(nn.Conv2d(3, 4, 3, padding=2), nn.Conv2d(4, 4, 3))
        for one, step in zip(self.convs, (2, (1, 1))):
            one.stride = step
        self.convs[0].dilation = 2

    def forward(self, x):
        return self.convs(x)
"""
    },
    "functions marked for torch.fx and for the compiler": {
        "net": """
import torch.fx


@torch.fx.wrap
def doubled(x):
    return 2 * x


@torch.compiler.disable
def halved(x):
    return x / 2


class Net(nn.Module):
    def forward(self, x):
        return doubled(x) + halved(x)
"""
    },
    "a weight standardised by a batch norm without statistics": {
        "net": """
class Standardised(nn.Conv2d):
    def forward(self, x):
        flat = self.weight.reshape(1, self.out_channels, -1)
        flat = F.batch_norm(flat, None, None, training=True, momentum=0.0, eps=1e-6)
        weight = flat.reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Standardised(3, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x)
"""
    },
    "the next of the parameters, of the buffers and of the modules": {
        "net": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)])
        self.register_buffer("shift", torch.ones(1))

    def forward(self, x):
        x = x.to(next(self.convs.parameters()).dtype) + next(self.buffers()).sum()
        return self.convs[0](x) if next(self.modules()) is self else x
"""
    },
    "a name of another file is given another layer": {
        "net": """
import blocks as models


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        from torch.nn import BatchNorm2d as BatchNorm
        models.BatchNorm = BatchNorm
        self.block = models.block(3)

    def forward(self, x):
        return self.block(x)
""",
        "blocks": """import torch.nn as nn

BatchNorm = nn.InstanceNorm2d


def block(width):
    return nn.Sequential(nn.Conv2d(width, width, 1), BatchNorm(width))
""",
    },
    "layers that are given first weights anew": {
        "net": """
class Scaled(nn.Linear):
    def reset_parameters(self):
        super().reset_parameters()
        nn.init.zeros_(self.bias)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 4, 1), nn.GroupNorm(2, 4)
        )
        self.linear = Scaled(6, 5)
        self.norm = nn.LayerNorm(5)
        for one in [*self.convs, self.norm]:
            one.reset_parameters()
        self.linear.reset_parameters()
        torch.ones(2).__reversed__()

    def forward(self, x):
        return self.norm(self.linear(self.convs(x)))
"""
    },
}


@pytest.mark.parametrize("name", HABITS)
def test_a_habit_of_research_code_is_ported(tmp_path, name):
    texts = {file: HEAD * (file == "net") + text for file, text in HABITS[name].items()}
    record, net = recorded(tmp_path, texts)
    assert record.failed == {}
    assert [str(gap) for gap in written(record)[1].gaps] == []
    theirs, ours = both_outputs(tmp_path, record, net, train=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_device_beside_a_string_is_one_hint(tmp_path):
    text = f"""{HEAD}
class Net(nn.Module):
    def forward(self, x, device: str | torch.device = None):
        return x * 2
"""
    record, _ = recorded(tmp_path, {"net": text}, "Net")
    assert "device: str = None" in written(record)[0]["net.py"]


def test_a_base_of_several_classes_is_a_hint_of_any_of_them(tmp_path):
    text = f"""{HEAD}from typing import Type, Union

from torch.nn.modules.conv import _ConvTransposeNd


def transposed(kind: Union[Type[_ConvTransposeNd], None] = None) -> Type[_ConvTransposeNd]:
    return kind or nn.ConvTranspose2d


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = transposed()(3, 2, 1)

    def forward(self, x):
        return self.up(x)
"""
    record, net = recorded(tmp_path, {"net": text}, "Net")
    ported = written(record)[0]["net.py"]
    assert "-> Type[nn.Conv1DTranspose | nn.Conv2DTranspose | nn.Conv3DTranspose]:" in ported
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
