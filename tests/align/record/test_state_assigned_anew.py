"""Buffers and attributes that forward assigns anew: every run starts from the same state."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from paddle_impl.layers import BatchNorm2D


class Reference(tnn.Module):
    def __init__(self, way):
        super().__init__()
        self.fc, self.way, self.seen = tnn.Linear(4, 4), way, 1.0
        self.register_buffer("centre", torch.zeros(4))

    def forward(self, x):
        y = self.fc(x)
        if self.way == "attribute":
            self.seen = self.seen + 1.0
            return y * self.seen
        new = self.centre * 0.9 + y.detach().mean(0) * 0.1
        if self.way == "assigned":
            self.centre = new
        else:
            self.centre.copy_(new)
        return y - self.centre


class Port(pnn.Layer):
    keeps = 0.9

    def __init__(self, way):
        super().__init__()
        self.fc, self.way, self.seen = pnn.Linear(4, 4), way, 1.0
        self.register_buffer("centre", paddle.zeros([4]))

    def forward(self, x):
        y = self.fc(x)
        if self.way == "attribute":
            self.seen = self.seen + 1.0
            return y * self.seen
        new = self.centre * self.keeps + y.detach().mean(0) * 0.1
        if self.way == "assigned":
            self.centre = new
        else:
            self.centre.set_value(new)
        return y - self.centre


PAIRS = [(a, b) for a in ("assigned", "written") for b in ("assigned", "written")]
PAIRS += [("attribute", "attribute")]


def pair(theirs, ours):
    torch.manual_seed(0)
    reference, port = Reference(theirs), Port(ours)
    port.fc.weight.set_value(reference.fc.weight.detach().numpy().T)
    port.fc.bias.set_value(reference.fc.bias.detach().numpy())
    return reference, port


def batch():
    return np.random.default_rng(0).standard_normal((3, 4))


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_aligned_and_put_back(theirs, ours):
    reference, port = pair(theirs, ours)
    buffers = reference.centre, port.centre
    for report in (
        align_forward(reference, port, [batch()], train=True),
        align_backward(reference, port, [batch()]),
    ):
        assert report.exit_code == 0, report.verdict
    assert reference.centre is buffers[0]
    assert port.centre is buffers[1]
    assert not reference.centre.any()
    assert not port.centre.numpy().any()
    assert reference.seen == port.seen == 1.0


@pytest.mark.parametrize(("theirs", "ours"), PAIRS[:1])
def test_another_factor_is_found(theirs, ours):
    reference, port = pair(theirs, ours)
    with torch.no_grad():
        reference.centre += 1.0
    port.centre.set_value(np.ones(4, "float32"))
    port.keeps = 0.8
    report = align_forward(reference, port, [batch()], train=True)
    assert report.exit_code == 1
    assert {divergence.layer for divergence in report.divergences} == {""}


@pytest.mark.parametrize(("theirs", "ours"), PAIRS[:2])
def test_steps_of_training(theirs, ours):
    report = align_training(
        *pair(theirs, ours),
        [(batch(), np.zeros(3, int))] * 2,
        torch_loss=lambda outputs, _: (outputs**2).mean(),
        paddle_loss=lambda outputs, _: (outputs**2).mean(),
        torch_optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1),
        paddle_optimizer=lambda parameters: paddle.optimizer.SGD(0.1, parameters=parameters),
    )
    assert report.exit_code == 0, report.verdict


class ReferenceKeeping(tnn.Module):
    def __init__(self):
        super().__init__()
        self.fc = tnn.Linear(4, 4)
        self.register_buffer("table", torch.zeros(3, 4))

    def forward(self, x):
        self.table = self.fc(x)
        return x + self.table


class PortKeeping(pnn.Layer):
    factor = 1.0

    def __init__(self):
        super().__init__()
        self.fc = pnn.Linear(4, 4)
        self.register_buffer("table", paddle.zeros([3, 4]))

    def forward(self, x):
        table = self.fc(x)
        self.table = table * self.factor
        return x + table


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_buffer_that_gradients_go_through(factor):
    torch.manual_seed(0)
    reference, port = ReferenceKeeping(), PortKeeping()
    port.factor = factor
    port.fc.weight.set_value(reference.fc.weight.detach().numpy().T)
    port.fc.bias.set_value(reference.fc.bias.detach().numpy())
    report = align_backward(reference, port, [batch()])
    assert report.exit_code == (factor != 1.0), report.verdict


class HooksOnce:
    """Gathers what its layers return, by hooks that its first forward puts there."""

    def gathered(self, x, hook):
        if not getattr(self, "hooked", False):
            for layer in (self.one, self.two):
                hook(layer, lambda *seen: self.found.append(seen[-1]))
            self.hooked = True
        self.found = []
        self.two(self.one(x))
        return self.found


class HookedReference(HooksOnce, tnn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = tnn.Linear(4, 4), tnn.Linear(4, 4)

    def forward(self, x):
        found = self.gathered(x, lambda layer, note: layer.register_forward_hook(note))
        return torch.cat(found, 1)


class HookedPort(HooksOnce, pnn.Layer):
    def __init__(self):
        super().__init__()
        self.one, self.two = pnn.Linear(4, 4), pnn.Linear(4, 4)

    def forward(self, x):
        found = self.gathered(x, lambda layer, note: layer.register_forward_post_hook(note))
        return paddle.concat(found, axis=1)


def test_hooks_that_forward_puts_there_once_go_with_what_says_so():
    reference, port = HookedReference(), HookedPort()
    fill_port(LiveReference(reference), port, None)
    x = [np.random.default_rng(0).standard_normal((3, 4)).astype("float32")]
    for judge in (align_forward, align_backward, align_forward):
        assert judge(reference, port, x).exit_code == 0
    assert not hasattr(reference, "hooked")
    assert not reference.one._forward_hooks
    assert not port.one._forward_post_hooks


@pytest.mark.skipif(paddle.__version__ < "3", reason="Paddle 2.6 makes no such parameter")
def test_a_parameter_of_no_elements_is_cast_with_the_others():
    class Theirs(tnn.Linear):
        def __init__(self):
            super().__init__(4, 4)
            self.tokens = tnn.Parameter(torch.empty(0, 4))

        def forward(self, x):
            return torch.cat([self.tokens, super().forward(x)])

    class Ours(pnn.Linear):
        def __init__(self):
            super().__init__(4, 4)
            self.tokens = self.create_parameter([0, 4])

        def forward(self, x):
            return paddle.concat([self.tokens, super().forward(x)])

    reference, port = Theirs(), Ours()
    fill_port(LiveReference(reference), port, None)
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    report = align_training(
        *(reference, port, [[x, np.zeros(1)]]),
        *(lambda outputs, _: (outputs**2).mean(),) * 2,
        lambda parameters: torch.optim.SGD(parameters, 0.1),
        lambda parameters: paddle.optimizer.SGD(0.1, parameters=parameters),
    )
    assert report.exit_code == 0


class Gathering:
    """A head that reads what a hook has gathered of layers inside of an encoder."""

    def forward(self, x):
        self.found = []
        self.encoder(x)
        return self.head(self.found[0] * 2.0) + self.found[1] + self.other(self.found[1])


class GatheringReference(Gathering, tnn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = tnn.Sequential(tnn.Linear(4, 4), tnn.Sequential(tnn.Linear(4, 4)))
        self.head, self.other = tnn.Linear(4, 4), tnn.Linear(4, 4)
        for layer in (self.encoder[0], self.encoder[1][0]):
            layer.register_forward_hook(lambda *seen: self.found.append(seen[-1]))


class GatheringPort(Gathering, pnn.Layer):
    def __init__(self, detach=False):
        super().__init__()
        self.encoder = pnn.Sequential(pnn.Linear(4, 4), pnn.Sequential(pnn.Linear(4, 4)))
        self.head, self.other = pnn.Linear(4, 4), pnn.Linear(4, 4)
        for layer in (self.encoder[0], self.encoder[1][0]):
            layer.register_forward_post_hook(
                lambda *seen: self.found.append(seen[-1].detach() if detach else seen[-1])
            )


@pytest.mark.parametrize("detach", [False, True])
def test_gradients_of_what_hooks_gather_come_from_the_code_around(detach):
    reference, port = GatheringReference(), GatheringPort(detach)
    fill_port(LiveReference(reference), port, None)
    x = [np.random.default_rng(0).standard_normal((3, 4)).astype("float32")]
    report = align_backward(reference, port, x)
    assert report.exit_code == (1 if detach else 0), report.divergences


def stages(nn, conv, norm, hook):
    """Return a class of nets whose head is handed what hooks gather of the trunk's stages."""

    class Head(nn.base):
        def __init__(self):
            super().__init__()
            self.sides = nn.listed([conv(4, 2, 1), conv(4, 2, 1)])

        def forward(self, maps):
            return sum(side(one) for side, one in zip(self.sides, maps, strict=True))

    class Net(nn.base):
        def __init__(self):
            super().__init__()
            self.trunk = nn.row(nn.row(conv(3, 4, 1), norm(4)), nn.row(conv(4, 4, 1), norm(4)))
            self.head, self.found = Head(), []
            for one in self.trunk:
                hook(one, lambda *seen: self.found.append(seen[-1]))

        def forward(self, x):
            self.found.clear()
            self.trunk(x)
            return self.head(self.found), self.found[-1].mean()

    return Net


def test_what_hooks_gather_may_go_into_another_layer():
    theirs = SimpleNamespace(base=tnn.Module, listed=tnn.ModuleList, row=tnn.Sequential)
    ours = SimpleNamespace(base=pnn.Layer, listed=pnn.LayerList, row=pnn.Sequential)
    reference = stages(
        *(
            theirs,
            tnn.Conv2d,
            tnn.BatchNorm2d,
            lambda layer, note: layer.register_forward_hook(note),
        )
    )()
    port = stages(
        *(ours, pnn.Conv2D, BatchNorm2D),
        lambda layer, note: layer.register_forward_post_hook(note),
    )()
    fill_port(LiveReference(reference), port, None)
    x = [np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype("float32")]
    report = align_backward(reference, port, x)
    assert report.exit_code == 0, report.divergences
