"""Keywords that a call hands on to whichever class a table holds: `HUB[name](**kwargs)`."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

HEAD = "import torch\nfrom torch import nn\n\n"
NET = """
class Activation(nn.Module):
    def __init__(self, name, **kwargs):
        super().__init__()
        hub = {HUB}
        self.activation = hub[name](**kwargs)

    def forward(self, x):
        return self.activation(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.layers = nn.Sequential(LAYERS)

    def forward(self, x):
        return self.layers(self.conv(x))
"""
CASES = {
    "now and then": (
        '{"relu": nn.ReLU}',
        'Activation("relu", inplace=True), Activation("relu")',
        '**none_of(kwargs, "inplace")',
    ),
    "several classes, one is given something": (
        '{"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "relu6": nn.ReLU6}',
        'Activation("sigmoid"), Activation("relu", inplace=True), Activation("relu6")',
        '**none_of(kwargs, "inplace")',
    ),
    "left out and handed on": (
        '{"leaky": nn.LeakyReLU, "relu": nn.ReLU, "elu": nn.ELU}',
        'Activation("elu", alpha=0.5), Activation("relu"), '
        'Activation("leaky", negative_slope=0.3, inplace=True), Activation("leaky")',
        '**only_of(kwargs, "alpha", "negative_slope", left_out=["inplace"])',
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_paddle_has_no_need_of_is_left_out_for_all_classes(tmp_path, name):
    hub, layers, wanted = CASES[name]
    text = HEAD + NET.replace("{HUB}", hub).replace("LAYERS", layers)
    record, net = recorded(tmp_path, {"users_hub": text})
    files, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    assert f"hub[name]({wanted})" in files["users_hub.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
