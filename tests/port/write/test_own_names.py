"""What a user calls as a helper is called stays the user's, inside of what is respelled, too."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

TEXT = """import torch
from torch import nn


def split_by_size(x, size):
    return x.split(size, 1)[0]


class TransformerEncoder(nn.Sequential):
    def __init__(self, depth, width):
        super().__init__(*[nn.Linear(width, width) for _ in range(depth)])


class Body(nn.Sequential):
    def __init__(self, width=4):
        super().__init__(nn.Linear(8, width), TransformerEncoder(2, width=width))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Body()

    def forward(self, x):
        return torch.cat(split_by_size(self.body(x), 2).split(1, 1), 1) + split_by_size(x, 2)
"""


def test_a_name_of_the_users_that_a_helper_has_stays(tmp_path):
    record, net = recorded(tmp_path, {"users_names": TEXT}, shape=(2, 8))
    files, port = written(record)
    text = files["users_names.py"]
    assert [str(gap) for gap in port.gaps] == []
    assert "super().__init__(nn.Linear(8, width), TransformerEncoder(2, width=width))" in text
    assert "torch_TransformerEncoder" not in text
    assert "torch_split_by_size(split_by_size(self.body(x), 2), 1, axis=1)" in text
    theirs, ours = both_outputs(tmp_path, record, net, shape=(2, 8))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


SHADED = """import torch
import torch.nn as nn
import torch.nn.functional as F


def mean(F):
    assert F.dim() == 4
    return F.sum(3, keepdim=True) / F.size(3)


class Net(nn.Module):
    def forward(self, x):
        return mean(x) + torch.nn.functional.relu(x).mean(3, keepdim=True)
"""


def test_a_users_own_f_is_not_taken_for_paddles(tmp_path):
    record, net = recorded(tmp_path, {"shaded": SHADED})
    text = written(record)[0]["shaded.py"]
    assert "    assert F.ndim == 4\n    return F.sum(axis=3, keepdim=True) / F.shape[3]" in text
    assert "paddle.nn.functional.relu(x)" in text
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


TABLED = """import torch
from torch import nn

FILLS = {"constant_": torch.nn.init.constant_}


def constant_(tensor, value):
    return FILLS["constant_"](tensor, value)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 2)
        constant_(self.fc.bias, 0.5)

    def forward(self, x):
        return self.fc(x)
"""


def test_a_helper_that_is_a_value_has_its_name_of_the_file(tmp_path):
    record, net = recorded(tmp_path, {"users_table": TABLED}, shape=(2, 8))
    files, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    assert 'FILLS = {"constant_": torch_constant_}' in files["users_table.py"]
    theirs, ours = both_outputs(tmp_path, record, net, shape=(2, 8))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
