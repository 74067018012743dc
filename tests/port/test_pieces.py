"""Tensors cut into pieces: Paddle's are of one size, the last of torch's may be smaller."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

NET = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, x):
        x = self.conv(x)
        a, b = x.chunk(2, dim=1)
        pieces = torch.chunk(x, 3, 1)
        rows = [torch.roll(piece, shift, 2) for piece, shift in zip(pieces, range(-1, 2))]
        return torch.cat(rows, 1) + torch.cat([b, a], 1) + torch.cat(x.chunk(3, -1)[::-1], -1)
"""
)


def test_the_last_piece_may_be_smaller(tmp_path):
    record, net = recorded(tmp_path, {"pieces": NET})
    text = written(record)[0]["pieces.py"]
    assert "a, b = x.chunk(2, axis=1)" in text
    assert "pieces = chunks_of(x, 3, axis=1)" in text
    np.testing.assert_allclose(*both_outputs(tmp_path, record, net), rtol=1e-6, atol=1e-6)
