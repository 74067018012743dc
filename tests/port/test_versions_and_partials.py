"""Nets that ask which torch they have, and that take a `partial` apart."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from port.folder import write_folder
from port.port import write_port
from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, build_port, recorded, written

ASKS = f"""{HEAD}
import torch.compiler

apart = getattr(getattr(torch, "compiler", None), "disable", None) or len
act = getattr(nn, "LeakyRelu", None)
KNOWS = hasattr(torch, "compiler") and hasattr(torch.compiler, "is_exporting")


def left_alone(function):
    return function


@torch.fx.wrap
@apart
@left_alone
def doubled(x):
    return x if KNOWS and torch.compiler.is_exporting() else 2 * x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        weight = F.batch_norm(
            self.conv.weight.reshape(1, 3, -1), None, None, training=True, momentum=0.0, eps=1e-3
        )
        x = x if act is None else act(x)
        return apart(doubled)(self.conv(x)) * weight.reshape_as(self.conv.weight)[0, 0]
"""
APART = f"""{HEAD}
from functools import partial


class NormAct(nn.BatchNorm2d):
    def __init__(self, width, eps=1e-5, momentum=0.1):
        super().__init__(width, eps=eps, momentum=momentum)

    def forward(self, x):
        return super().forward(x).relu()


def with_act(norm):
    return partial(NormAct, **norm.keywords) if norm.func is nn.BatchNorm2d else norm


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        norm = partial(partial(nn.BatchNorm2d, eps=0.1), momentum=0.3)
        self.norm = partial(partial(with_act(norm)), 3)()

    def forward(self, x):
        return self.norm(self.conv(x))
"""


IN_TURN = f"""{HEAD}
class Most(nn.MaxPool2d):
    def forward(self, x):
        return F.max_pool2d(x, self.kernel_size, 1, 1, (self.dilation[0], self.dilation[1]))


class Pool(nn.AvgPool2d):
    def forward(self, x):
        return F.avg_pool2d(x, self.kernel_size, 1, 1, self.ceil_mode, self.count_include_pad)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 3, 1), Pool(3, count_include_pad=False)

    def forward(self, x, dtype=None):
        first, none = next(self.parameters()), next(self.buffers(), None)
        outer = next(iter(self.modules())) is self and next(self.modules()) is self
        x = Most((3, 3), dilation=(1, 1))(self.pool(self.conv(x)))
        x = x.to(device=first.device, dtype=dtype)
        if x.device.type != "cpu" or first.device.type not in ("cpu", "cuda"):
            return -x
        return x.to(first.dtype) if none is None and outer else 0 * x
"""
DRAWN = f"""{HEAD}
class Scaled(nn.Conv2d):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.gain = nn.Parameter(torch.ones(1))
        self.reset_parameters()

    def reset_parameters(self):
        if hasattr(self, "gain"):
            nn.init.constant_(self.gain, 2.0)
            super().reset_parameters()

    def forward(self, x):
        return self.gain * super().forward(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Scaled(3, 8, 1)

    def forward(self, x):
        return torch.cat([one.mean(1, keepdim=True) for one in self.conv(x).chunk(3, dim=1)], 1)
"""
STARS = f"""{HEAD}
class Norm(nn.GroupNorm):
    def forward(self, x):
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class Scaled(nn.Conv2d):
    def __init__(self, width, bias=False, device=None):
        placed = {{"device": device}}
        super().__init__(width, width, 1, bias=bias, **placed)


class Net(nn.Module):
    def __init__(self, size=(4, 3), device=None, dtype=None):
        super().__init__()
        placed = {{"device": device, "dtype": dtype}}
        self.shift = nn.Parameter(torch.zeros(1, *size, 1, 1, **placed)[:, 0])
        self.norm, self.conv = Norm(1, 3), Scaled(3)
        kind = torch.get_default_dtype()
        assert kind.is_floating_point and kind == self.norm.weight.dtype

    def forward(self, x):
        return self.norm(self.conv(x) + self.shift.detach().requires_grad_(False) + self.shift)
"""
WORKED_OUT = f"""{HEAD}
from functools import partial


def settings(given):
    return {{"eps": given["eps"], "momentum": 0.3}}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        norm = partial(nn.BatchNorm2d, **settings({{"eps": 0.1}}))
        self.layers = nn.Sequential(nn.Conv2d(3, 3, 1), norm(3), nn.BatchNorm2d(3, **dict(eps=1)))

    def forward(self, x):
        return self.layers(x)
"""


@pytest.mark.parametrize("text", [ASKS, APART, IN_TURN, DRAWN, STARS, WORKED_OUT])
def test_it_computes_the_same(tmp_path, text):
    record, net = recorded(tmp_path, {"idiom": text})
    _, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    theirs, ours = both_outputs(tmp_path, record, net, train=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_what_torch_has_is_said_and_paddle_is_not_asked(tmp_path):
    record, _ = recorded(tmp_path, {"idiom": ASKS})
    text = written(record)[0]["idiom.py"]
    assert "KNOWS = True and True" in text
    assert "@left_alone\ndef doubled" in text


def test_keywords_that_are_worked_out_are_worked_out_once(tmp_path):
    record, _ = recorded(tmp_path, {"idiom": WORKED_OUT})
    text = written(record)[0]["idiom.py"]
    assert text.count("settings(") == 2
    assert 'epsilon=(held := settings({"eps": 0.1}))["eps"], momentum=1 - held["momentum"]' in text


REGISTERED = {
    "net": f"""{HEAD}
from blocks import made
import mobile


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = made("mobile"), made("other")

    def forward(self, x):
        return self.second(self.first(x))
""",
    "blocks": """BLOCKS = {}


def register(name, block):
    BLOCKS[name] = block


def made(name):
    return BLOCKS[name](3)
""",
    "mobile": f"""{HEAD}
from blocks import BLOCKS, register


class Mobile(nn.Conv2d):
    def __init__(self, width):
        super().__init__(width, width, 1)


class Other(Mobile):
    def forward(self, x):
        return super().forward(x) + 1


class Never(Mobile):
    def __init__(self, width):
        super().__init__(2 * width)


register("mobile", Mobile)
register("never", Never)
BLOCKS["other"] = Other
print(Other(3)(torch.zeros(1, 3, 2, 2)).shape)
""",
}


def test_what_registers_a_class_that_ran_is_kept(tmp_path):
    record, net = recorded(tmp_path, REGISTERED)
    files, port = written(record)
    assert port.gaps == []
    assert 'register("never"' not in files["mobile.py"]
    assert "print(" not in files["mobile.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_weights_that_a_class_draws_itself_are_drawn_as_it_is_made(tmp_path):
    """torch's constructor calls the method, Paddle's does not."""
    text = f"""{HEAD}
class Own(nn.Linear):
    def __init__(self, width):
        super().__init__(width, 2)

    def reset_parameters(self):
        nn.init.constant_(self.weight, 3.0)
        nn.init.zeros_(self.bias)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.own = Own(8)

    def forward(self, x):
        return self.own(x)
"""
    record, _ = recorded(tmp_path, {"idiom": text})
    write_folder(tmp_path / "drawn", write_port(record), {"spec": "here", "arguments": {}})
    assert (build_port(tmp_path / "drawn").own.weight.numpy() == 3).all()
