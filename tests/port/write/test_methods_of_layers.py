"""Methods that layers of Paddle 2.6 lack, or that take less there: `train(mode)`, `add_module`."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

TEXT = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        stages = [("first", nn.Conv2d(3, 4, 3)), ("norm", nn.BatchNorm2d(4))]
        for stage in stages:
            self.add_module(*stage)
        self.drop = nn.Dropout(0.5)

    def train(self, mode=True):
        super().train(mode)
        for layer in (self.norm, self.drop):
            layer.train(mode)
        self.drop.eval()
        return self

    def forward(self, x):
        return self.drop(self.norm(self.first(x)))
"""


def test_modes_and_names_are_handed_on(tmp_path):
    record, net = recorded(tmp_path, {"users_methods": TEXT})
    files, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    text = files["users_methods.py"]
    assert "self.add_sublayer(*stage)" in text
    assert "super().train(mode)" in text
    assert "set_mode(layer, mode)" in text
    for train in (False, True):
        theirs, ours = both_outputs(tmp_path, record, net, train=train)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
