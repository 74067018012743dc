"""Numbers that are tensors: sizes to pad by, whole quotients, dtypes by their old names."""

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
    def forward(self, x):
        y = x[:, :, :-1, :-3]
        up = torch.tensor([x.size()[2] - y.size()[2]])
        left = torch.tensor([x.size()[3] - y.size()[3]])
        y = F.pad(y, [left // 2, left - left // 2, up // 2, up - up // 2])
        some = (torch.div(left, 2, rounding_mode="floor"), 0)
        rows = torch.div(torch.arange(8), 3, rounding_mode="trunc")
        same = torch.where(x > 0, 1.0, 0.0) + rows.type(torch.FloatTensor)
        largest = x.flatten(2).topk(2)
        same = same + largest.values.mean() + torch.gather(x.flatten(2), 2, largest.indices).mean()
        same = same + x.kthvalue(2, -1).values.mean() + x.median(dim=1)[0].mean()
        return F.pad(x + y + x[:, :, rows], some) + same.mean()
"""
)


def test_whole_numbers_stay_whole(tmp_path):
    record, net = recorded(tmp_path, {"whole": NET})
    text = written(record)[0]["whole.py"]
    assert "F.pad(y, [(left // 2).item(), (left - left // 2).item()," in text
    assert "rows.astype('float32')" in text
    np.testing.assert_allclose(*both_outputs(tmp_path, record, net), rtol=1e-5, atol=1e-5)
