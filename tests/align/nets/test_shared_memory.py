"""Weights that share their memory, as after `a.weight.data = b.weight.data`, do so in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_step
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from commands.port import nets_paddle, nets_torch


class Reference(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 3, 1)
        self.b.weight.data = self.a.weight.data

    def forward(self, x):
        return self.b(torch.sin(self.a(x)))


class Port(paddle.nn.Layer):
    def __init__(self, shared):
        super().__init__()
        self.a, self.b = paddle.nn.Conv2D(3, 3, 1), paddle.nn.Conv2D(3, 3, 1)
        if shared:
            self.b.weight.data = self.a.weight.data

    def forward(self, x):
        return self.b(paddle.sin(self.a(x)))


@pytest.mark.parametrize("shared", [True, False])
def test_a_step_tells_whether_weights_share_their_memory(shared):
    torch.manual_seed(0)
    reference, port = Reference(), Port(shared)
    fill_port(LiveReference(reference), port, None)
    image = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype("float32")
    report = align_step(
        reference,
        port,
        [image, np.zeros(1)],
        nets_torch.mean_square,
        nets_paddle.mean_square,
        nets_torch.momentum,
        nets_paddle.momentum,
    )
    # Before 3.0 `data` makes one weight of the two: each is moved by the gradients of both, twice.
    assert report.aligned == (shared and paddle.__version__ >= "3")
    assert reference.a.weight.data_ptr() == reference.b.weight.data_ptr()
