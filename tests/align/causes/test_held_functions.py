"""A cause is found however the port's code holds the function of Paddle that is to blame."""

import functools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle.nn.functional import avg_pool2d, max_pool2d, sigmoid

from align import align_forward
from align.causes.held_functions_paddle import held_functions

TABLE = {"max": max_pool2d, "average": avg_pool2d}
X = np.random.default_rng(0).standard_normal((2, 3, 4, 4))


class Reference(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.conv(x)
        return x * torch.sigmoid(torch.nn.functional.avg_pool2d(x, 4))


class Port(paddle.nn.Layer):
    def __init__(self, pool, reference):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 3, 1)
        self.pool = pool
        self.conv.weight.set_value(reference.conv.weight.detach().numpy())
        self.conv.bias.set_value(reference.conv.bias.detach().numpy())

    def forward(self, x):
        x = self.conv(x)
        return x * sigmoid(self.pooled(x))

    def pooled(self, x):
        return self.pool(x, 4)


class Imported(Port):
    def pooled(self, x):
        return max_pool2d(x, 4)


class Looked(Port):
    def pooled(self, x):
        return TABLE[self.pool](x, 4)


def closed(pool):
    return lambda x, size: pool(x, size)


def ports(reference, pool):
    yield Port(pool, reference)
    yield Port(functools.partial(pool, stride=4), reference)
    yield Port(closed(pool), reference)
    yield Looked("max" if pool is max_pool2d else "average", reference)
    if pool is max_pool2d:
        yield Imported(None, reference)


def test_the_cause_is_told():
    reference = Reference()
    for port in ports(reference, max_pool2d):
        (found,) = align_forward(reference, port, [X]).divergences
        assert str(found.cause) == "max_pool2d stands for avg_pool2d"
    assert TABLE["max"] is max_pool2d
    assert max_pool2d is paddle.nn.functional.max_pool2d


def test_the_right_ports_pass():
    reference = Reference()
    for port in ports(reference, avg_pool2d):
        assert align_forward(reference, port, [X]).exit_code == 0


def test_each_place_can_be_filled_and_put_back():
    port, own = Port(max_pool2d, Reference()), max_pool2d
    held = held_functions(port)[id(own)]
    for put in held:
        put(avg_pool2d)
    assert port.pool is TABLE["max"] is max_pool2d is avg_pool2d
    for put in held:
        put(own)
    assert port.pool is TABLE["max"] is max_pool2d is own
