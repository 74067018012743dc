"""Layers whose arguments a user's class hands on uncounted: `nn.MaxPool2d(*args, **kwargs)`."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.spelling.table import rows
from port.write.torch_like import torch_like
from tests.port.trial import both_outputs, recorded, written

HEAD = "import torch\nfrom torch import nn\n\n"
POOL = """
class SamePool(nn.Module):
    def __init__(self, *args, **kwargs):
        super().__init__()
        self.pool = nn.MaxPool2d(*args, **kwargs)

    def forward(self, x):
        return self.pool(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), SamePool(3, 1, padding=1), SamePool(2))

    def forward(self, x):
        return self.layers(x)
"""


def test_a_pool_of_uncounted_arguments_takes_torchs(tmp_path):
    record, net = recorded(tmp_path, {"users_pool": HEAD + POOL})
    files, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    assert "self.pool = MaxPool2d(*args, **kwargs)" in files["users_pool.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in rows() if n.startswith("torch.nn.MaxPool")])
def test_each_pool_of_the_table_has_such_a_class(name):
    space = {"nn": paddle.nn, "on_each_axis": lambda size, axes: size}
    exec(torch_like([name]).source, space)
    short = name.rpartition(".")[2]
    assert space[short](2, return_indices=True).return_mask
    with pytest.raises(NotImplementedError, match="dilation=2"):
        space[short](2, dilation=2)
