"""`.data` of what is trained: Paddle 2.6 takes no writes into it, and into `.detach()` it does."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from port.folder import write_folder
from port.port import write_port
from tests.port.trial import build_port, recorded

TEXT = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.first = self.conv.bias.data.clone().fill_(1.0)
        for weight in (self.conv.weight, self.conv.bias):
            weight.data[:1] = 3.0
            weight.data[1:].zero_()
        self.conv.bias.data += 1
        self.conv.weight.data.mul_(2).clamp_(max=5.0)
        self.conv.weight.data = self.conv.weight.data - 1

    def forward(self, x):
        return self.conv(x) * self.first.view(1, -1, 1, 1)
"""


def test_data_of_what_is_trained_is_written_into(tmp_path):
    record, net = recorded(tmp_path, {"users_data": TEXT}, modes=("eval",))
    port = write_port(record)
    assert not port.gaps
    text = next(file.text for file in port.files if file.path == "users_data.py")
    assert "            weight.detach()[:1] = 3.0\n" in text
    assert "        self.conv.bias.set_value(self.conv.bias.detach() + 1)\n" in text
    write_folder(tmp_path / "with_data", port, {"spec": "here", "arguments": {}})
    ported = build_port(tmp_path / "with_data")
    for name, weight in net.state_dict().items():
        assert (ported.state_dict()[name].numpy() == weight.numpy()).all()
    assert len(ported.parameters()) == 2
    assert not ported.conv.weight.stop_gradient
    assert ported.first.stop_gradient
