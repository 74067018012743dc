"""Buffers that a class assigns as `nn.Buffer`: registered, saved or not as torch's are."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

TEXT = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.scale = nn.Buffer(torch.arange(4.0))
        self.shift = torch.nn.Buffer(torch.ones(4), persistent=False)
        self.fc.kept = nn.parameter.Buffer(data=torch.full((4,), 2.0), persistent=True)

    def forward(self, x):
        return self.fc(x) * self.scale + self.shift * self.fc.kept
"""


def test_buffers_are_registered(tmp_path):
    record, net = recorded(tmp_path, {"users_buffers": TEXT}, shape=(2, 8))
    files, port = written(record)
    text = files["users_buffers.py"]
    assert [str(gap) for gap in port.gaps] == []
    assert 'self.register_buffer("scale", paddle.arange(4.0' in text
    assert 'self.register_buffer("shift", paddle.ones([4]), persistable=False)' in text
    assert 'self.fc.register_buffer("kept", ' in text
    theirs, ours = both_outputs(tmp_path, record, net, shape=(2, 8))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
