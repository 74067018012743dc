"""Operators such as `+=` between tensors of two types."""

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
        self.conv = nn.Conv2d(3, 4, 3)
        angles = torch.arange(4, dtype=torch.float32)
        angles *= torch.arange(1, 5)
        self.register_buffer("angles", angles)

    def forward(self, x):
        x = self.conv(x)
        y = x * 2
        y += torch.arange(6)
        mask = x > 0
        y *= mask if self.training else (mask & (x < 1))
        y -= 1
        same = y * 3
        same /= self.angles.max()
        kept = 0
        kept += y.mean()
        return same + kept
"""


def test_what_is_put_in_has_the_type_of_the_tensor_there(tmp_path):
    record, net = recorded(tmp_path, {"users_types": TEXT})
    files, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    text = files["users_types.py"]
    assert "angles *= paddle.arange(1, 5).astype(angles.dtype)" in text
    assert "y += paddle.arange(6).astype(y.dtype)" in text
    assert "y *= (mask if self.training else (mask & (x < 1))).astype(y.dtype)" in text
    assert "y -= 1\n" in text
    assert "same /= self.angles.max()" in text
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
