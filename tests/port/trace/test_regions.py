"""What a graph does not tell by itself: kept where it can be, refused by name where it cannot."""

import pytest

torch = pytest.importorskip("torch")

from port.trace.aten import row_of
from port.trace.calls_torch import SeenRun
from port.trace.export_torch import traced_call
from port.trace.forward import forward_of
from port.trace.graph import TracedClass, TraceError

pytestmark = [pytest.mark.prove, pytest.mark.timeout(900)]
nn = torch.nn


class Kept(nn.Module):
    """A running mean by hand: a region without gradients, a buffer that is written into."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x):
        with torch.autocast("cpu", enabled=False), torch.no_grad():
            share = x.exp() * self.mean
        self.mean.mul_(0.9)
        self.mean += x.detach().sum()
        return x * share


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class WithFunction(nn.Module):
    def forward(self, x):
        return Sign.apply(x * 2)


class Counts(nn.Module):
    count, seen = 0, ()

    def forward(self, x):
        self.count += 1
        self.seen = [*self.seen, self.count]
        return x * self.count


class HalfWay(nn.Module):
    def forward(self, x):
        with torch.autocast("cpu"):
            return x @ x


class GivesBefore(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        before = self.mean.clone()
        self.mean += 1
        return x * 2, before


def written(net):
    call = traced_call(SeenRun("net", net, False, (torch.ones(3, 3),), {}), row_of)
    traced = TracedClass("users", "Net", "(self, x)", [call])
    return list(forward_of(traced, lambda spelled: spelled.text).lines[2:])


def test_a_region_without_gradients_stays_one_and_a_buffer_gets_its_new_value():
    assert written(Kept()) == [
        "exp = paddle.exp(x)",
        "mul = exp * self.mean",
        "detach = mul.detach()",
        "mul_2 = self.mean * 0.9",
        "detach_2 = x.detach()",
        "sum_2 = paddle.sum(detach_2)",
        "add = mul_2 + sum_2",
        "mul_3 = x * detach",
        "self.mean = add.detach()",
        "return mul_3",
    ]


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (WithFunction, "autograd Function, whose backward a graph does not hold"),
        (Counts, "it changes self.count, self.seen"),
        (HalfWay, "it computes under autocast"),
        (GivesBefore, "writes into self.mean, and gives what that was before"),
    ],
)
def test_what_no_graph_holds_is_refused(net, why):
    before = torch.autograd.Function.__dict__["apply"]
    with pytest.raises(TraceError, match=why):
        written(net())
    assert torch.autograd.Function.__dict__["apply"] is before
