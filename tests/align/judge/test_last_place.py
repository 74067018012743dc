"""exp rounds its last place otherwise than torch's; of times as angles hundreds of it arrive."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_forward
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference


class Reference(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(128, 4)

    def forward(self, x):
        falling = torch.exp(-math.log(10000) * torch.arange(0, 64, dtype=x.dtype) / 64)
        angles = torch.tensor([[500.0], [731.0]], dtype=x.dtype) * falling[None]
        return self.linear(torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)) + x


class Port(paddle.nn.Layer):
    def __init__(self, fault):
        super().__init__()
        self.linear = paddle.nn.Linear(128, 4)
        self.fault = fault

    def forward(self, x):
        falling = paddle.exp(-math.log(10000) * paddle.arange(0, 64, dtype=x.dtype) / 64)
        falling = falling * (1 + self.fault)
        angles = paddle.to_tensor([[500.0], [731.0]], dtype=x.dtype) * falling.unsqueeze(0)
        both = paddle.concat([paddle.cos(angles), paddle.sin(angles)], axis=-1)
        return self.linear(both) + x


@pytest.mark.parametrize("fault", [0.0, 1e-14])
def test_a_fault_of_some_fifty_last_places_is_found(fault):
    torch.manual_seed(0)
    reference, port = Reference(), Port(fault)
    fill_port(LiveReference(reference), port, None)
    image = np.random.default_rng(0).standard_normal((2, 4)).astype("float32")
    assert align_forward(reference, port, image).aligned == (not fault)
