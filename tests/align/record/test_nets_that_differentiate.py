"""Nets that differentiate themselves in forward: could not check, never an error of torch's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_forward, align_training
from align.rungs.record_trace import record_trace
from common.errors import UserError

X = np.random.default_rng(0).standard_normal((4, 6))


class Energy(torch.nn.Module):
    """The gradient of an energy by the inputs."""

    def __init__(self, how):
        super().__init__()
        self.hidden, self.energy = torch.nn.Linear(6, 8), torch.nn.Linear(8, 1)
        self.how = how

    def forward(self, x):
        with torch.enable_grad():
            return self.how(self, x.detach().requires_grad_())


def by_inputs(net, x):
    energy = net.energy(torch.tanh(net.hidden(x))).sum()
    return torch.autograd.grad(energy, x, create_graph=True)[0]


def by_hidden(net, x):
    hidden = net.hidden(x)
    return torch.autograd.grad(net.energy(torch.tanh(hidden)).sum(), hidden, create_graph=True)[0]


def by_backward(net, x):
    net.energy(torch.tanh(net.hidden(x))).sum().backward()
    return x.grad


def functional(net, x):
    return torch.func.grad(lambda x: net.energy(torch.tanh(net.hidden(x))).sum())(x)


class Port(paddle.nn.Layer):
    def __init__(self, reference):
        super().__init__()
        self.hidden, self.energy = paddle.nn.Linear(6, 8), paddle.nn.Linear(8, 1)
        for name in ("hidden", "energy"):
            ours, theirs = getattr(self, name), getattr(reference, name)
            ours.weight.set_value(theirs.weight.detach().numpy().T)
            ours.bias.set_value(theirs.bias.detach().numpy())

    def forward(self, x):
        x = x.detach()
        x.stop_gradient = False
        with paddle.enable_grad():
            energy = self.energy(paddle.tanh(self.hidden(x))).sum()
            return paddle.grad(energy, x, create_graph=True)[0]


def loss(outputs, label):
    return ((outputs - label) ** 2).mean()


def train(reference, port):
    optimizers = (
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: paddle.optimizer.SGD(0.1, parameters=p),
    )
    return align_training(reference, port, [[X, X]], loss, loss, *optimizers)


@pytest.mark.parametrize("how", [by_inputs, by_hidden, by_backward, functional])
def test_it_could_not_be_checked(how, tmp_path):
    reference = Energy(how)
    port, run = Port(reference), torch.autograd._engine_run_backward
    for align in (
        lambda: align_forward(reference, port, [X]),
        lambda: align_forward(reference, port, [X], train=True),
        lambda: align_backward(reference, port, [X]),
        lambda: train(reference, port),
        lambda: record_trace(reference, [X], tmp_path / "trace"),
    ):
        with pytest.raises(UserError, match="could not check") as raised:
            align()
        assert "test_nets_that_differentiate.py:" in str(raised.value)
        assert "Align the part that it differentiates" in str(raised.value)
    assert torch.autograd._engine_run_backward is run


def test_layers_under_vmap_could_not_be_checked():
    reference = Energy(lambda net, x: torch.vmap(net.hidden)(x))
    with pytest.raises(UserError, match="vmap") as raised:
        align_forward(reference, Port(reference), [X])
    assert "test_nets_that_differentiate.py:" in str(raised.value)


def test_what_the_message_asks_for_works():
    """The energy alone: its gradient by the inputs is what the net returns."""

    class Part(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.hidden, self.energy = net.hidden, net.energy

        def forward(self, x):
            return self.energy(torch.tanh(self.hidden(x)))

    class PortPart(paddle.nn.Layer):
        def __init__(self, net, scale=1.0):
            super().__init__()
            self.hidden, self.energy, self.scale = net.hidden, net.energy, scale

        def forward(self, x):
            return self.energy(paddle.tanh(self.hidden(x) * self.scale))

    reference = Energy(by_inputs)
    port = Port(reference)
    assert align_backward(Part(reference), PortPart(port), [X]).exit_code == 0
    assert align_backward(Part(reference), PortPart(port, 1.001), [X]).exit_code == 1


def test_code_that_differentiates_no_module_of_the_net_is_judged():
    class Slope(torch.nn.Module):
        def forward(self, x):
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                return torch.autograd.grad(torch.tanh(x).sum(), x)[0]

    class PortSlope(paddle.nn.Layer):
        def __init__(self, power):
            super().__init__()
            self.power = power

        def forward(self, x):
            return 1 - paddle.tanh(x) ** self.power

    assert align_forward(Slope(), PortSlope(2), [X]).exit_code == 0
    assert align_forward(Slope(), PortSlope(4), [X]).exit_code == 1
