"""Methods that write into a part of a tensor: Paddle's gradient knows nothing of such a write."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.folder import write_folder
from port.port import write_port
from tests.port.trial import build_port, recorded, written

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        with torch.no_grad():
            self.conv.weight[1:].tan_()

    def forward(self, x):
        y = self.conv(x)
        y[:, 0].sin_()
        y[:, 1].mul_(2).add_(1)
        y[:, 2:, ::2].add_(0.5).atan_()
        y[:, 3, :, 0].fill_(0.25)
        y.mul_(3)
        return y
"""


def test_a_part_gets_its_values_by_an_assignment(tmp_path):
    record, _ = recorded(tmp_path, {"parts": NET})
    files, port = written(record)
    text = files["parts.py"]
    assert not port.gaps
    for line in (
        "into(paddle.tan)(self.conv.weight[1:])",
        "y[:, 0] = y[:, 0].clone().sin()",
        "y[:, 1] = (y[:, 1] * 2) + 1",
        "y[:, 3, :, 0] = 0.25",
    ):
        assert line in text, text


def test_the_gradient_is_torchs(tmp_path):
    record, net = recorded(tmp_path, {"parts": NET})
    write_folder(tmp_path / "port_of_parts", write_port(record), {"spec": "x", "arguments": {}})
    ported = build_port(tmp_path / "port_of_parts")
    ported.conv.weight.set_value(net.conv.weight.detach().numpy())
    image = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype("float32")
    theirs, ours = net(torch.from_numpy(image)), ported(paddle.to_tensor(image))
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
    (theirs**2).sum().backward()
    (ours**2).sum().backward()
    np.testing.assert_allclose(
        ported.conv.weight.grad.numpy(), net.conv.weight.grad.numpy(), rtol=1e-4
    )
