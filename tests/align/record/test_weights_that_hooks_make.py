"""Reparametrisation by hooks, as torch.nn.utils.weight_norm and spectral_norm have it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward
from align.pairing.fill import load_state
from convert import convert_state

pytestmark = pytest.mark.filterwarnings("ignore")


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.conv = tnn.utils.weight_norm(tnn.Conv2d(3, 4, 3))
        self.head = tnn.utils.spectral_norm(tnn.Conv2d(4, 2, 1))

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)))


class Port(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = pnn.utils.weight_norm(pnn.Conv2D(3, 4, 3))
        self.head = pnn.utils.spectral_norm(pnn.Conv2D(4, 2, 1))

    def forward(self, x):
        return self.head(pnn.functional.relu(self.conv(x)))


def reports(broken=None):
    torch.manual_seed(0)
    reference, port = Reference(), Port()
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    if broken is not None:
        broken(port)
    image = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
    yield align_forward(reference, port, [image], train=True)
    yield align_backward(reference, port, [image])


def test_right_port_is_aligned():
    for report in reports():
        assert report.exit_code == 0, report.verdict


def lost_gradient(port):
    """The direction is no part of the graph."""

    def detach(layer, inputs):
        layer.weight = (layer.weight_g / layer.weight_v.norm()).reshape(
            [-1, 1, 1, 1]
        ) * layer.weight_v.detach()

    port.conv.register_forward_pre_hook(detach)


def test_weight_that_a_hook_makes_otherwise_is_found():
    for report in reports(lost_gradient):
        assert report.exit_code == 1
        assert {divergence.layer for divergence in report.divergences} == {"conv"}
