"""Places picked by a list, a tensor or a mask: of a view Paddle picks along another axis."""

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
        self.order = [2, 0, 1]

    def forward(self, x):
        last = x.permute(0, 2, 3, 1)
        index, mask, row = torch.tensor([2, 1, 0]), torch.arange(3) > 0, 2
        first = torch.stack([x, x])[[1, 0], :, :, row]
        found = [last[..., [2, 1, 0]], last[:, self.order], last[:, :, index, row], last[..., mask]]
        return sum(one.std() for one in found) + last[:, None, row].mean() + first.mean()
"""
)


def test_places_are_picked_of_a_view(tmp_path):
    record, net = recorded(tmp_path, {"pick": NET})
    text = written(record)[0]["pick.py"]
    assert text.count(".clone()") == 4
    assert "last.clone()[..., [2, 1, 0]]" in text
    np.testing.assert_allclose(*both_outputs(tmp_path, record, net), rtol=1e-6, atol=1e-6)
