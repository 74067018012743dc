"""A layer of torch's that is called with more than its input: the same in Paddle."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

SIZES = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)
        self.up = nn.ConvTranspose2d(3, 3, 3, stride=2, padding=1)
        self.plain = nn.ConvTranspose2d(3, 3, 3, stride=2, padding=1)

    def forward(self, x):
        whole, (y, places) = x.size(), self.down(x)
        y = self.unpool(y, places, output_size=whole)
        low = self.plain(self.down(y)[0], output_size=x.shape[2:])
        return self.up(self.down(low)[0], output_size=whole)
"""
)


def test_a_size_of_all_axes(tmp_path):
    """torch takes the last axes of an output_size that names batch and channels, too."""
    record, net = recorded(tmp_path, {"sized": SIZES})
    files, port = written(record)
    assert not port.gaps
    assert "self.up(self.down(low)[0], output_size=whole[2:])" in files["sized.py"]
    assert "self.plain(self.down(y)[0], output_size=x.shape[2:])" in files["sized.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
