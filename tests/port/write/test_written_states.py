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


LOADED = {
    "made": """self.fc.load_state_dict(
            {"weight": torch.arange(16.0).view(4, 4), "bias": torch.ones(4)})""",
    "made elsewhere": """made = OrderedDict(weight=torch.arange(16).view(4, 4), bias=torch.ones(4))
        self.fc.load_state_dict(made, strict=True)""",
    "changed": """state = self.state_dict()
        state["fc.weight"] = state["fc.weight"] + torch.arange(4.0)
        state.update({"bn.running_mean": torch.ones(4), "bn.num_batches_tracked": torch.tensor(3)})
        self.load_state_dict(state)""",
    "a part": "self.load_state_dict({'fc.weight': torch.arange(16.0).view(4, 4)}, strict=False)",
}


@pytest.mark.parametrize("kind", LOADED)
def test_a_state_dict_that_the_net_makes_is_torchs(kind, tmp_path):
    start, end = TEXT.index("        for key"), TEXT.index("\n    def forward")
    first = "nn.init.ones_(self.fc.weight)\n        nn.init.ones_(self.fc.bias)"
    body = f"{TEXT[:start]}        {first}\n        {LOADED[kind]}\n{TEXT[end:]}"
    head = "import torch\nfrom collections import OrderedDict\n"
    record, net = recorded(tmp_path, {"users_own": head + body}, modes=("eval",))
    write_folder(tmp_path / "own_state", write_port(record), {"spec": "here", "arguments": {}})
    ported = build_port(tmp_path / "own_state")
    np.testing.assert_array_equal(ported.fc.weight.numpy().T, net.fc.weight.detach().numpy())
    np.testing.assert_array_equal(ported.fc.bias.numpy(), net.fc.bias.detach().numpy())
    np.testing.assert_array_equal(ported.bn._mean.numpy(), net.bn.running_mean.numpy())


def test_a_state_dict_that_is_loaded_is_paddles(tmp_path):
    last = 'self.state_dict()["fc.weight"][0, 1] = 7'
    body = TEXT.replace(last, "self.load_state_dict(self.state_dict())")
    body = body.replace("[key][...] = 3", "[key].size(0)")
    body = body.replace("[key][:2] = 2", "[key].size(0)")
    record, _ = recorded(tmp_path, {"users_loads": body})
    texts = {file.path: file.text for file in write_port(record).files}
    assert "state_of" not in texts["users_loads.py"]
