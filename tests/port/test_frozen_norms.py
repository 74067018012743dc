"""Normalisations with a frozen weight, whose gradient Paddle gets wrong."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.folder import write_folder
from port.helpers.pooling_norms_paddle import freezable_layer_norm
from tests.port.trial import both_outputs, build_port, recorded, written

NET = """
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn


class Channels(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2.0, dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-6)


class Net(nn.Module):
    def __init__(self, norm=partial(nn.LayerNorm, eps=1e-6), other=nn.LayerNorm):
        super().__init__()
        self.adapt = nn.Linear(8, 8)
        self.norm, self.other, self.own = norm(8), other([8, 8]), Channels(8)
        self.direct = nn.LayerNorm(8)
        for layer in (self.norm, self.other, self.direct):
            nn.init.constant_(layer.weight, 3.0)
        FREEZE

    def forward(self, x):
        return self.direct(self.own(self.other(self.norm(self.adapt(x)))))
"""
FREEZE = {
    "all": "for p in (p for m in list(self.children())[1:] for p in m.parameters()):\n"
    "            p.requires_grad = False",
    "none": "pass",
}


@pytest.mark.parametrize("frozen", FREEZE)
def test_frozen_layer_norm_hands_on_torchs_gradient(tmp_path, frozen):
    text = NET.replace("FREEZE", FREEZE[frozen])
    record, net = recorded(tmp_path, {f"frozen_{frozen}": text})
    texts, port = written(record)
    whole = texts[f"frozen_{frozen}.py"]
    if frozen == "none":
        assert "nn.LayerNorm" in whole
        assert "F.layer_norm" in whole
        assert "reezable" not in whole
        return
    assert "nn.LayerNorm" not in whole
    assert "F.layer_norm" not in whole
    assert "partial(FreezableLayerNorm, epsilon=1e-6)" in whole
    assert "import paddle.nn.functional as F" not in whole
    place = tmp_path / "port_of_frozen"
    write_folder(place, port, {"spec": "here", "arguments": {}})
    ours = build_port(place)
    ours.set_state_dict({k: paddle.to_tensor(v.numpy()) for k, v in net.state_dict().items()})
    ours.adapt.weight.set_value(net.adapt.weight.detach().numpy().T)
    ours.other.weight.set_value(net.other.weight.detach().numpy().ravel())
    assert ours.direct.weight.stop_gradient
    image, times = np.random.default_rng(0).standard_normal((2, 2, 3, 8, 8)).astype("float32")
    (net(torch.from_numpy(image)) * torch.from_numpy(times)).sum().backward()
    (ours(paddle.to_tensor(image)) * paddle.to_tensor(times)).sum().backward()
    theirs = net.adapt.weight.grad.numpy().T
    np.testing.assert_allclose(ours.adapt.weight.grad.numpy(), theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [8, [8], [3, 8]])
def test_frozen_weight_without_a_bias(shape):
    whole = [shape] if isinstance(shape, int) else shape
    drawn = np.random.default_rng(0).standard_normal((2, 3, 8)), np.random.rand(*whole)
    x, weight = map(torch.from_numpy, drawn)
    wanted = torch.nn.functional.layer_norm(x, whole, weight).numpy()
    x, weight = map(paddle.to_tensor, drawn)
    found = freezable_layer_norm(x, shape, weight.flatten()).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-8)


OWN_PARAMETERS = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)
        for one in self.first.parameters():
            one.requires_grad = False

    def parameters(self):
        return filter(lambda one: one.requires_grad, super().parameters())

    def forward(self, x):
        return self.last(self.first(x))
"""


def test_a_net_may_have_parameters_of_its_own_choice(tmp_path):
    record, net = recorded(tmp_path, {"chosen": OWN_PARAMETERS})
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
