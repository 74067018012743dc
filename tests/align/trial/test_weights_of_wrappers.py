"""A layer whose weight the code around it makes for every call is not judged by itself."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_training
from align.pairing.fill import load_state


class Scaled(tnn.Module):
    """Keeps its convolution's weight as `weight_bar`, and gives it one of length 1 per call."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        weight = inner.weight
        del inner._parameters["weight"]
        inner.register_parameter("weight_bar", tnn.Parameter(weight.data))

    def forward(self, x):
        bar = self.inner.weight_bar
        self.inner.weight = bar / (bar * bar).sum()
        return self.inner.forward(x)


class ScaledPort(pnn.Layer):
    def __init__(self, inner, made):
        super().__init__()
        self.inner, self.made = inner, made
        weight = inner.weight
        del inner._parameters["weight"]
        inner.add_parameter("weight_bar", pnn.Layer().create_parameter(weight.shape))

    def forward(self, x):
        self.inner.weight = self.made(self.inner.weight_bar)
        return self.inner.forward(x)


def of_length_1(bar):
    return bar / (bar * bar).sum()


class Twice(tnn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = Scaled(tnn.Conv2d(3, 4, 1)), Scaled(tnn.Conv2d(4, 3, 1))

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


class TwicePort(pnn.Layer):
    def __init__(self, made):
        super().__init__()
        self.first = ScaledPort(pnn.Conv2D(3, 4, 1), made)
        self.last = ScaledPort(pnn.Conv2D(4, 3, 1), of_length_1)

    def forward(self, x):
        return self.last(paddle.tanh(self.first(x)))


def report_on(made):
    torch.manual_seed(0)
    net, port = Twice(), TwicePort(made)
    load_state(port, {key: tensor.detach().numpy() for key, tensor in net.state_dict().items()})
    return align_backward(net, port, [np.random.default_rng(0).standard_normal((2, 3, 5, 4))])


def test_weight_that_a_wrapper_makes_is_there_where_its_layer_is_judged():
    report = report_on(of_length_1)
    assert report.exit_code == 0, report.verdict
    judged = {(call.layer, call.where) for call in report.calls}
    assert {("first.inner", "grad:weight_bar"), ("first.inner", "grad_input:0")} <= judged


@pytest.mark.parametrize(
    "made", [lambda bar: bar / (bar * bar).sum().detach(), lambda bar: of_length_1(bar) * 1.001]
)
def test_weight_that_a_wrapper_makes_otherwise_is_found(made):
    report = report_on(made)
    assert report.exit_code == 1, report.verdict
    assert {found.layer.split(".")[0] for found in report.divergences} == {"first"}


class Averaged(tnn.Module):
    """Moves a frozen parameter in every run in train mode, as power iterations do."""

    def __init__(self):
        super().__init__()
        self.inner = tnn.Linear(3, 3)
        self.kept = tnn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, x):
        self.kept.data = 0.5 * self.kept.data + self.inner.bias.data
        return self.inner(x) * self.kept


class AveragedPort(pnn.Layer):
    def __init__(self, share):
        super().__init__()
        self.inner, self.share = pnn.Linear(3, 3), share
        self.kept = self.create_parameter([3])
        self.kept.stop_gradient = True

    def forward(self, x):
        moved = 0.5 * self.kept + self.inner.bias
        if self.share:
            self.kept.set_value(moved.detach())
        return self.inner(x) * moved.detach()


@pytest.mark.parametrize("share", [True, False])
def test_frozen_parameter_that_the_code_moves_is_moved_on_both_sides(share):
    torch.manual_seed(0)
    net, port = Averaged(), AveragedPort(share)
    arrays = {key: tensor.detach().numpy() for key, tensor in net.state_dict().items()}
    load_state(port, arrays | {"inner.weight": arrays["inner.weight"].T})
    image = np.random.default_rng(0).standard_normal((4, 3))

    def loss(out, label):
        return ((out - label) ** 2).mean()

    report = align_training(
        net,
        port,
        [[image, image]] * 2,
        loss,
        loss,
        lambda held: torch.optim.SGD(held, 0.1),
        lambda held: paddle.optimizer.SGD(0.1, parameters=held),
    )
    assert report.exit_code == (0 if share else 1), report.verdict
