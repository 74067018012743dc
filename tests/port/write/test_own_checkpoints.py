"""Checkpoints of gradients that a user wrote: in the port their code runs once."""

import ast

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward
from common.errors import UserError
from common.processes.gradient_checkpoints import runs_again
from port.folder import write_folder
from tests.port.trial import build_port, recorded, written

CHECKPOINT = """
class Again(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, length, *args):
        ctx.run = run
        ctx.given = list(args[:length])
        ctx.weights = list(args[length:])
        with torch.no_grad():
            outputs = ctx.run(*ctx.given)
        return outputs

    @staticmethod
    def backward(ctx, *grads):
        given = [x.detach().requires_grad_(True) for x in ctx.given]
        with torch.enable_grad():
            outputs = ctx.run(*[x.view_as(x) for x in given])
        found = torch.autograd.grad(outputs, given + ctx.weights, grads, allow_unused=True)
        return (None, None) + found
"""
NET = (
    "import torch\nfrom torch import nn\n"
    + CHECKPOINT
    + """
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
    def forward(self, x):
        return Again.apply(self.inner, 1, x, *self.parameters())
    def inner(self, x):
        return x + self.conv(x).sigmoid()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Block(), Block()
    def forward(self, x):
        return self.b(self.a(x))
"""
)
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
# What has another gradient than the function, or may have one.
OTHERS = {
    "a scaled gradient": ("return (None, None) + found", "return (None, None) + twice(found)"),
    "another sum": ("+ ctx.weights, grads", "+ ctx.weights, [g * 2 for g in grads]"),
    "the function twice": (
        "outputs = ctx.run(*ctx.given)",
        "outputs = ctx.run(ctx.run(*ctx.given))",
    ),
    "a solver": ("found = torch", "solve(ctx)\n        found = torch"),
    "with a graph": ("with torch.no_grad():", "if True:"),
    "one None": ("(None, None) + found", "(None,) + found"),
    "all arguments": ("args[:length]", "args"),
    "outputs changed": ("return outputs", "return -outputs"),
}


def test_the_port_runs_the_function():
    assert runs_again(ast.parse(CHECKPOINT).body[0]) == "run, length, *args"
    short = CHECKPOINT.replace("run, length, *args", "run, *args").replace("None, None", "None,")
    short = short.replace("[:length]", "").replace("list(args[length:])", "[]")
    assert runs_again(ast.parse(short).body[0]) == "run, *args"


@pytest.mark.parametrize("name", OTHERS)
def test_other_functions_stay(name):
    before, after = OTHERS[name]
    assert before in CHECKPOINT
    assert runs_again(ast.parse(CHECKPOINT.replace(before, after)).body[0]) is None


def test_the_gradients_are_judged(tmp_path):
    record, net = recorded(tmp_path, {"checkpointed": NET})
    texts, port = written(record)
    assert "return run(*args[:length])" in texts["checkpointed.py"]
    assert "backward" not in texts["checkpointed.py"]
    write_folder(tmp_path / "once", port, {"spec": "here", "arguments": {}})
    ported = build_port(tmp_path / "once")
    ported.set_state_dict({k: paddle.to_tensor(v.numpy()) for k, v in net.state_dict().items()})
    apply = type(net.a).forward.__globals__["Again"].apply
    report = align_backward(net, ported, [IMAGES])
    assert report.exit_code == 0
    assert type(net.a).forward.__globals__["Again"].apply == apply
    ported.a.conv.weight.set_value(ported.a.conv.weight * 1.01)
    assert align_backward(net, ported, [IMAGES]).exit_code == 1


def test_one_that_is_not_known_is_told(tmp_path):
    text = NET.replace("outputs = ctx.run(*ctx.given)", "outputs = ctx.run(*ctx.given) * 1.0")
    text = text.replace("for x in given])", "for x in given]) * 1.0")
    _, net = recorded(tmp_path, {"checkpointed": text})
    with pytest.raises(UserError, match="runs again in a backward pass of its own"):
        align_backward(net, plain_port(net), [IMAGES])


def plain_port(net):
    class Part(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.conv = paddle.nn.Conv2D(3, 3, 1)

        def forward(self, x):
            return x + paddle.nn.functional.sigmoid(self.conv(x))

    class Whole(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b = Part(), Part()

        def forward(self, x):
            return self.b(self.a(x))

    made = Whole()
    made.set_state_dict({k: paddle.to_tensor(v.numpy()) for k, v in net.state_dict().items()})
    return made
