"""A net with a `train` of its own, and its loss, as one module: the net changes modes by itself."""

import pytest

paddle = pytest.importorskip("paddle")

from align.nets.whole_paddle import NetWithLoss


class Frozen(paddle.nn.Layer):
    """Keeps its norm in eval mode."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = paddle.nn.BatchNorm2D(3), paddle.nn.Dropout()

    def train(self):
        super().train()
        self.norm.eval()


def test_the_nets_own_train_is_asked():
    net = Frozen()
    whole = NetWithLoss(net, paddle.nn.MSELoss())
    whole.train()
    assert (whole.training, net.drop.training, net.norm.training) == (True, True, False)
    whole.eval()
    assert not any(layer.training for layer in whole.sublayers(include_self=True))
