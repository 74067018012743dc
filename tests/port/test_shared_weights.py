"""A weight whose data are a turned view of another's: filling the port's leaves the other alone."""

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
        self.there = nn.Conv1d(3, 4, 1, bias=False)
        self.back = nn.Conv1d(4, 3, 1, bias=False)
        self.back.weight.data = self.there.weight.data.permute(1, 0, 2)

    def forward(self, x):
        return self.back(self.there(x.flatten(2)).softmax(-1))
"""
)


def test_a_turned_view_as_data_is_copied(tmp_path):
    record, net = recorded(tmp_path, {"shared": NET})
    files, port = written(record)
    line = "self.there.weight.detach().transpose([1, 0, 2]).contiguous()"
    assert f"set_data(self.back.weight, {line})" in files["shared.py"]
    assert any("shares its memory" in note for _, note in port.files[0].needs.notes)
    np.testing.assert_allclose(*both_outputs(tmp_path, record, net), rtol=1e-6, atol=1e-6)
