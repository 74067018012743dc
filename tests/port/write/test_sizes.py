"""Sizes and tuples put together: Paddle's shapes are lists, to which no tuple is added."""

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
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        ones = (1,) * 2
        kept = x.shape[:2] + ones
        x = x * x.new_ones(kept)
        x = x.reshape(x.shape[:2] + (-1,))
        return x.view((x.size(0), 2) + x.shape[1:2] + (-1,))
"""


def test_a_tuple_beside_a_size_is_a_list(tmp_path):
    record, net = recorded(tmp_path, {"users_sizes": TEXT})
    files, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    text = files["users_sizes.py"]
    assert "kept = x.shape[:2] + list(ones)\n" in text
    assert "x.reshape(x.shape[:2] + [-1])" in text
    assert "x.reshape([x.shape[0], 2] + x.shape[1:2] + [-1])" in text
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
