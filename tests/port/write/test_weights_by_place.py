"""Weights that a `forward` reads among the parameters of a layer."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

TEXT = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
        self.fc = nn.Linear(4, 4)
        self.head = nn.utils.spectral_norm(nn.Linear(4, 2, bias=False))
        for p in list(self.fc.parameters()):
            p.requires_grad = True

    def forward(self, x):
        x = self.conv(x)
        scores = self.fc(x.mean((2, 3)))
        weight = list(self.fc.parameters())[0]
        maps = torch.einsum("oc,bchw->bohw", weight, x)
        late = list(self.conv.parameters())[4]
        first = next(self.head.parameters())
        kind = next(self.parameters()).dtype
        return (maps * scores[:, :, None, None] + late.mean()).to(kind) * first.sum(1).max()
"""


def test_a_linears_weight_has_torchs_axes_where_it_is_read_by_its_place(tmp_path):
    record, net = recorded(tmp_path, {"users_cam": TEXT})
    files, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    text = files["users_cam.py"]
    assert "weight = list(values_of(self.fc))[0]" in text
    assert "first = next(iter(values_of(self.head)))" in text
    assert "for p in list(self.fc.parameters()):" in text  # nothing is read from these
    assert "kind = next(iter(self.parameters())).dtype" in text
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
