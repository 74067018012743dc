"""Python's own functions of tensors: Paddle 2.6's tensors do not answer to all of them."""

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
        self.conv = nn.Conv2d(3, abs(-4), 3)

    def forward(self, x):
        x = abs(self.conv(x)) + round(2.2)
        return x - abs(x[:, :1]).mean()
"""


def test_abs_of_a_tensor_is_paddles(tmp_path):
    record, net = recorded(tmp_path, {"users_builtins": TEXT})
    files, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    text = files["users_builtins.py"]
    assert "nn.Conv2D(3, abs(-4), 3)" in text
    assert "x = paddle.abs(self.conv(x)) + round(2.2)\n" in text
    assert "return x - paddle.abs(x[:, :1]).mean()" in text
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
