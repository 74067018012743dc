"""A window that Paddle pads "SAME": after an even map first, where torch pads both sides alike."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle.nn import functional as P
from torch.nn import functional as T

from align import align_forward


class Reference(torch.nn.Module):
    def __init__(self, pools):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 4, 3, 2, padding=1, bias=False)
        self.weight = torch.nn.Parameter(torch.randn(5, 4, 3, 3))
        self.pools = pools

    def forward(self, x):
        x = torch.sigmoid(self.stem(x))
        if self.pools:
            x = T.max_pool2d(x, 3, 2, padding=1)
        return T.conv2d(x, self.weight, stride=2, padding=1)


class Port(paddle.nn.Layer):
    def __init__(self, reference, stem=1, pool=1, conv=1):
        super().__init__()
        self.stem = paddle.nn.Conv2D(3, 4, 3, 2, padding=stem, bias_attr=False)
        self.weight = self.create_parameter([5, 4, 3, 3])
        self.stem.weight.set_value(reference.stem.weight.detach().numpy())
        self.weight.set_value(reference.weight.detach().numpy())
        self.pools, self.pool, self.conv = reference.pools, pool, conv

    def forward(self, x):
        x = P.sigmoid(self.stem(x))
        if self.pools:
            x = P.max_pool2d(x, 3, 2, padding=self.pool)
        return P.conv2d(x, self.weight, stride=2, padding=self.conv)


CALLED = "{} is called with padding=SAME, in the reference with padding=1"


@pytest.mark.parametrize(
    ("wrong", "layer", "said"),
    [
        ("stem", "stem", "Conv2D has padding=SAME: with padding=[1, 1] it is the reference's"),
        ("pool", "", CALLED.format("max_pool2d")),
        ("conv", "", CALLED.format("conv2d")),
    ],
)
def test_the_wrong_one_is_found_and_told(wrong, layer, said):
    reference = Reference(wrong == "pool")
    image = np.random.default_rng(0).standard_normal((1, 3, 16, 16))
    (found,) = align_forward(reference, Port(reference, **{wrong: "SAME"}), [image]).divergences
    assert found.layer == layer
    assert said in str(found.cause)


def test_on_odd_sizes_both_are_the_same():
    reference = Reference(True)
    port = Port(reference, *["SAME"] * 3)
    image = np.random.default_rng(0).standard_normal((1, 3, 33, 33))
    assert align_forward(reference, port, [image]).exit_code == 0
