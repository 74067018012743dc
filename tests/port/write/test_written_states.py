"""First weights that a net writes into its state dict, which holds no leaves in torch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from port.folder import write_folder
from port.port import write_port
from tests.port.trial import build_port, recorded

TEXT = """import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4)
        for key in self.state_dict():
            kind = key.split(".")[-1]
            if kind == "weight" and "bn" in key:
                self.state_dict()[key][...] = 3
            elif kind == "weight":
                nn.init.constant_(self.state_dict()[key], 0.5)
            elif kind in ("bias", "running_mean"):
                self.state_dict()[key][:2] = 2
        self.state_dict()["fc.weight"][0, 1] = 7

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))
"""


def test_what_is_written_into_the_state_dict_is_in_the_net(tmp_path):
    record, net = recorded(tmp_path, {"users_state": TEXT})
    port = write_port(record)
    assert [str(gap) for gap in port.gaps] == []
    write_folder(tmp_path / "written_state", port, {"spec": "here", "arguments": {}})
    ported = build_port(tmp_path / "written_state")
    for layer, name in (("conv", "weight"), ("bn", "weight"), ("fc", "weight")):
        theirs = getattr(getattr(net, layer), name).detach().numpy()
        ours = getattr(getattr(ported, layer), name).numpy()
        np.testing.assert_array_equal(ours.T if layer == "fc" else ours, theirs)
    for layer in ("conv", "bn", "fc"):
        np.testing.assert_array_equal(getattr(ported, layer).bias.numpy()[:2], [2, 2])
    assert ported.bn._mean.numpy().tolist() == [2, 2, 0, 0]
    assert not ported.fc.weight.stop_gradient


def test_a_state_dict_that_is_loaded_is_paddles(tmp_path):
    last = 'self.state_dict()["fc.weight"][0, 1] = 7'
    body = TEXT.replace(last, "self.load_state_dict(self.state_dict())")
    body = body.replace("[key][...] = 3", "[key].size(0)")
    body = body.replace("[key][:2] = 2", "[key].size(0)")
    record, _ = recorded(tmp_path, {"users_loads": body})
    texts = {file.path: file.text for file in write_port(record).files}
    assert "state_of" not in texts["users_loads.py"]
