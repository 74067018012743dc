"""Weights that a layer of their own makes anew wherever they are read, and seeds of their own."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

NET = """
import torch
from torch import nn
from torch.nn.utils import parametrize


class Halved(nn.Module):
    def forward(self, w):
        return w / 2


class Upper(nn.Module):
    def forward(self, w):
        return w.triu()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        draws = torch.Generator().manual_seed(3)
        self.scale = nn.Parameter(torch.rand(3, generator=draws))
        self.conv = nn.Conv2d(3, 4, 1)
        nn.init.normal_(self.conv.weight, generator=draws)
        self.fc = nn.Linear(4, 4)
        parametrize.register_parametrization(self.conv, "weight", Halved())
        parametrize.register_parametrization(self.fc, "weight", Upper())
        parametrize.register_parametrization(self.fc, "weight", Halved())

    def forward(self, x):
        y = self.fc(self.conv(x * self.scale[:, None, None]).mean((2, 3)))
        return y + self.fc.weight[0]
"""


@pytest.mark.filterwarnings("ignore")
def test_a_parametrized_weight_is_made_wherever_it_is_read(tmp_path):
    record, net = recorded(tmp_path, {"made": NET}, modes=("eval",))
    files, port = written(record)
    assert not port.gaps
    assert 'register_parametrization(self.fc, "weight", Upper())' in files["made.py"]
    assert "Parameter(paddle.rand([3]))" in files["made.py"]
    np.testing.assert_allclose(*both_outputs(tmp_path, record, net), rtol=1e-6)
