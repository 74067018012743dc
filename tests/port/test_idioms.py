"""Idioms of research code: the port computes what the reference computes, without a gap."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from port.record.record_torch import leave_functions_alone
from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

IMPORTS = HEAD.strip()
FUTURE = "from __future__ import annotations\n"
IDIOMS = {}
IDIOMS["getattr tricks"] = """
class Wrap(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, x):
        return self.inner(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Wrap(nn.Conv2d(3, 4, 1))
        self.width = self.conv.out_channels

    def forward(self, x):
        return self.conv(x) + self.conv.kernel_size[0] * self.width
"""
IDIOMS["one name of two classes' attributes"] = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 1),
            nn.BatchNorm2d(4),
            nn.InstanceNorm2d(4, affine=True),
            nn.InstanceNorm2d(4),
        )
        for layer in self.layers[1:]:
            self.fill(layer)

    def fill(self, norm):
        if norm.weight is not None:
            nn.init.constant_(norm.weight, norm.eps * 1e5)

    def forward(self, x):
        return self.layers(x)
"""
IDIOMS["super chains"] = """
class Named:
    def __init__(self, *args, tag="t", **kwargs):
        super().__init__(*args, **kwargs)
        self.tag = tag


class Base(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 1)

    def features(self, x):
        return self.conv(x)


class Mid(Named, Base):
    def features(self, x):
        return F.relu(super().features(x))


class Net(Mid):
    def __init__(self):
        super(Net, self).__init__(4, tag="n")

    def features(self, x):
        return super(Net, self).features(x) + len(self.tag)

    def forward(self, x):
        return self.features(x)
"""
IDIOMS["scripted function"] = """
@torch.jit.script
def swish(x):
    return x * torch.sigmoid(x)


@torch.jit.script_if_tracing
def twice(x: torch.Tensor, n: int = 2) -> torch.Tensor:
    return x * n


class Net(nn.Module):
    __constants__ = ["n"]

    def __init__(self):
        super().__init__()
        self.n = 3

    @torch.jit.ignore
    def extra(self, x):
        return x + 1

    @torch.jit.export
    def forward(self, x):
        return self.extra(twice(swish(x), self.n))
"""
IDIOMS["keywords handed on, now these and now those"] = """
def resized(x, **kwargs):
    return F.interpolate(x, **kwargs, mode="bilinear", align_corners=False)


class Net(nn.Module):
    def forward(self, x):
        small = resized(x, scale_factor=0.5)
        return resized(small, size=x.size()[2:]) + resized(x, size=(4, 4)).mean()
"""
IDIOMS["autograd function"] = """
class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * torch.sigmoid(x) * scale

    @staticmethod
    def backward(ctx, grad):
        x, = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * (s * (1 + x * (1 - s))) * ctx.scale, None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return Swish.apply(self.conv(x), 2.0)
"""
IDIOMS["layers by string"] = """
CONFIG = {"act": "LeakyReLU", "act_args": {"negative_slope": 0.2}}
CONFIG.update(norm="BatchNorm2d", fn="gelu")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = getattr(nn, CONFIG["norm"])(4)
        self.act = getattr(nn, CONFIG["act"])(**CONFIG["act_args"])
        self.last = nn.Conv2d(4, 3, 1)
        self.pools = [getattr(nn, f"{kind}Pool2d")(2, ceil_mode=True) for kind in ("Max", "Avg")]

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        y = getattr(F, CONFIG["fn"])(self.last(x)) + getattr(torch, "sigmoid")(x)[:, :3]
        return sum(pool(y) for pool in self.pools)
"""
IDIOMS["in place across a call"] = """
class Pre(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(self.relu(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.a = Pre()
        self.b = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1))

    def forward(self, x):
        x = self.first(x)
        y = self.a(x) + x
        z = self.b(y)
        return z + y
"""
IDIOMS["written by index"] = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        out = torch.zeros_like(x)
        n, c, h, w = x.size()
        out[:, : c // 2, 1:] = x[:, : c // 2, :-1]
        out[:, c // 2 :, :, :-1] = x[:, c // 2 :, :, 1:]
        out[:, 0] += 1
        return out
"""
IDIOMS["hooks, shared weights, copies"] = """
import copy
from collections import OrderedDict


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.kept = []
        layer = nn.Conv2d(3, 3, 1, bias=False)
        self.blocks = nn.ModuleList([copy.deepcopy(layer) for _ in range(2)])
        self.tied = nn.Conv2d(3, 3, 1, bias=False)
        self.tied.weight = self.blocks[0].weight
        self.seq = nn.Sequential(OrderedDict([("a", nn.ReLU()), ("b", nn.Conv2d(3, 3, 1))]))
        self.seq.add_module("c", nn.Tanh())
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.constant_(module.bias, 0.1)
        self.seq.b.register_forward_hook(lambda m, i, o: self.kept.append(o))

    def forward(self, x):
        self.kept = []
        for name, block in self.blocks.named_children():
            x = block(x)
        x = self.seq(self.tied(x))
        for key, layer in self.seq._modules.items():
            if key != "b":
                x = layer(x)
        return x + self.kept[0]
"""
IDIOMS["settings of torch's, layers in __dict__"] = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.nn.Module.dump_patches = True
        torch.backends.cudnn.benchmark = False
        for i in range(2):
            self.__dict__["_modules"][f"d{i}"] = nn.Conv2d(3, 3, 1)
        if True:
            torch.backends.cudnn.deterministic = True

    def forward(self, x):
        return self._modules["d1"](self.__dict__["_modules"]["d0"](x)) + len(self._modules)
"""
IDIOMS["decorators and caches"] = """
import functools
import math


def logged(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner


@functools.lru_cache(maxsize=None)
def positions(n):
    return torch.arange(n, dtype=torch.float32)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    @logged
    def forward(self, x):
        h, w = x.shape[-2:]
        p = positions(w).to(x.device).type_as(x) / math.sqrt(w)
        grid = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
        return x * self.scale + p[None, None, None] + grid.sum(0).float() / (h * w)
"""
IDIOMS["window attention"] = """
def window_partition(x, size):
    b, h, w, c = x.shape
    x = x.view(b, h // size, size, w // size, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size, size, c)


class Net(nn.Module):
    def __init__(self, dim=3, size=4, heads=1):
        super().__init__()
        self.size, self.heads = size, heads
        self.scale = (dim // heads) ** -0.5
        self.table = nn.Parameter(torch.zeros((2 * size - 1) * (2 * size - 1), heads))
        coords = torch.stack(torch.meshgrid([torch.arange(size), torch.arange(size)]))
        flat = torch.flatten(coords, 1)
        rel = (flat[:, :, None] - flat[:, None, :]).permute(1, 2, 0).contiguous()
        rel[:, :, 0] += size - 1
        rel[:, :, 1] += size - 1
        rel[:, :, 0] *= 2 * size - 1
        self.register_buffer("index", rel.sum(-1))
        self.qkv = nn.Linear(dim, dim * 3)
        nn.init.trunc_normal_(self.table, std=0.02)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x):
        b, c, h, w = x.shape
        x = torch.roll(x.permute(0, 2, 3, 1), shifts=(-2, -2), dims=(1, 2))
        x = window_partition(x, self.size).view(-1, self.size ** 2, c)
        qkv = self.qkv(x).reshape(x.shape[0], -1, 3, self.heads, c)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attn = (q * self.scale) @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(self.size ** 2, self.size ** 2, -1)
        attn = attn + bias.permute(2, 0, 1).contiguous().unsqueeze(0)
        img = torch.zeros((1, h, w, 1))
        cnt = 0
        for hs in (slice(0, -4), slice(-4, -2), slice(-2, None)):
            img[:, hs, :, :] = cnt
            cnt += 1
        mask = window_partition(img, self.size).view(-1, self.size ** 2)
        mask = mask.unsqueeze(1) - mask.unsqueeze(2)
        mask = mask.masked_fill(mask != 0, float(-100.0)).masked_fill(mask == 0, float(0.0))
        attn = attn.view(b, -1, self.heads, self.size ** 2, self.size ** 2)
        attn = attn + mask.unsqueeze(1).unsqueeze(0)
        attn = self.softmax(attn.view(-1, self.heads, self.size ** 2, self.size ** 2))
        return (attn @ v).transpose(1, 2).flatten(2)
"""
IDIOMS["annotations and contexts"] = """
from __future__ import annotations

from enum import Enum
from typing import Dict, List, NamedTuple, Optional, Tuple

from torch import Tensor


class Kind(str, Enum):
    A = "a"


class Out(NamedTuple):
    main: Tensor
    aux: Optional[Tensor]


class Net(nn.Module):
    heads: Dict[str, nn.Module]

    def __init__(self, kind: Kind = Kind.A, sizes: List[int] = (1, 2)):
        super().__init__()
        self.pools = nn.ModuleDict({f"p{s}": nn.AdaptiveAvgPool2d(s) for s in sizes})
        self.kind: Kind = kind

    @torch.no_grad()
    def stats(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        return x.mean(dim=(2, 3), keepdim=True), x.std(dim=[2, 3], keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        mean, std = self.stats(x)
        with torch.autocast("cpu", enabled=False):
            y = (x - mean) / (std + 1e-5)
        out = Out(y, None)
        if (found := out.main).dim() == 4 and self.kind is Kind.A:
            y = found
        return sum(F.interpolate(p(y), size=x.shape[2:]) for p in self.pools.values())
"""
IDIOMS["packed parameters and conv by hand"] = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.ws = nn.ParameterList([nn.Parameter(torch.rand(4, 3, 3, 3)) for _ in range(2)])
        self.w = nn.Parameter(torch.empty(3, 4))
        nn.init.xavier_uniform_(self.w)
        kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
        self.register_buffer("blur", kernel.expand(3, 1, 3, 3).clone(), persistent=False)

    def forward(self, x):
        x = F.conv2d(F.pad(x, [1] * 4, mode="reflect"), self.blur, groups=x.shape[1])
        y = F.conv2d(x, torch.cat([w for w in self.ws], dim=0), padding="same")
        a, b = y.chunk(2, 1)
        y = torch.einsum("bchw,kc->bkhw", a * b.sigmoid(), self.w)
        y = F.unfold(y, 3, padding=1).view(y.size(0), 3, 9, *y.shape[2:]).amax(2)
        return F.normalize(y, dim=1) + y.flip(-1).cumsum(2)
"""
IDIOMS["sum kept, slicing with None and steps"] = """
class Net(nn.Module):
    def forward(self, x):
        a = x[:, ::2, None, 1::2].squeeze(2)
        b = torch.cat((x[:, :, 0::2, 0::2], x[:, :, 1::2, 1::2]), 1)
        c = x.new_tensor([1, 2, 3]).view(1, 3, 1, 1) * x
        top, idx = c.topk(2, dim=1)
        m = c.max(1, keepdim=True)[0] + c.max(dim=1, keepdim=True).values
        one = F.one_hot(c.argmax(1), 3).permute(0, 3, 1, 2).float()
        d = torch.gather(c, 1, idx) * one[:, :2]
        return b.sum() + a.mean() + m + d * (c > 0).any(dim=1, keepdim=True)
"""
IDIOMS["keyword containers"] = """
class Args(dict):
    __getattr__ = dict.__getitem__


class Net(nn.Module):
    def __init__(self, **kw):
        super().__init__()
        args = Args(width=4, kernel=3, conv=dict(stride=1, padding=1, bias=False))
        args.update(kw)
        self.conv = nn.Conv2d(3, args.width, args.kernel, **args.conv)
        self.norms = nn.ModuleList(nn.GroupNorm(2, args.width) for _ in range(2))
        up = dict(mode="bilinear", align_corners=True)
        self.up = lambda x, size: F.interpolate(x, size, **up)
        self.drop = nn.Dropout2d(0.0) if args.get("drop") else nn.Identity()

    def forward(self, x, *unused, scale=1, **more):
        y = self.conv(x)
        for norm in self.norms:
            y = norm(y)
        return self.drop(self.up(y, (9, 11))) * scale
"""


IDIOMS["one number for both axes"] = """
class Padded(nn.Conv2d):
    def __init__(self, inputs, outputs, kernel, stride=1, **kwargs):
        super().__init__(inputs, outputs, kernel, stride, **kwargs)
        self.stride = self.stride if len(self.stride) == 2 else [self.stride[0]] * 2


class Plain(nn.Conv2d):
    def __init__(self, inputs, outputs, kernel, stride=1):
        super().__init__(inputs, outputs, kernel, stride, 0)


def block(width, stride, pad=(1,)):
    return nn.Conv2d(3, width, 3, stride=stride, padding=pad, dilation=(1,), bias=False)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = Padded(3, 4, 3, [2], padding=[1], bias=False)
        self.two = Padded(4, 4, 1)
        self.three = Plain(4, 4, 1, stride=(1,))
        self.four = Plain(4, 4, 1)
        self.five = nn.ModuleList([block(4, [2]), block(4, (2, 2)), block(4, 2, [1, 1])])
        self.six = nn.ConvTranspose2d(4, 4, 3, stride=[2], padding=[1], output_padding=[1])
        self.pool = nn.MaxPool2d([2], padding=(0,))

    def forward(self, x):
        y = self.four(self.three(self.two(self.one(x)))) + sum(one(x) for one in self.five)
        y = self.pool(self.six(y))
        sizes = [1]
        y = F.conv2d(y, self.two.weight, None, [1], sizes)
        return F.avg_pool2d(y, sizes * 1, stride=sizes)
"""

IDIOMS["keywords handed on to several classes"] = """
class Doubled(nn.Module):
    def __init__(self, inplace=False):
        super().__init__()

    def forward(self, x):
        return 2 * x


KINDS = {"relu": nn.ReLU, "hard": nn.Hardswish, "leaky": nn.LeakyReLU, "own": Doubled}


def make(name, **kwargs):
    kind = KINDS[name]
    return kind(inplace=False, **kwargs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        kinds = [make("relu"), make("hard"), make("leaky", negative_slope=0.3), make("own")]
        self.kinds = nn.ModuleList(kinds)

    def forward(self, x):
        return sum(kind(x) for kind in self.kinds)
"""


@pytest.fixture
def uncompiled(monkeypatch):
    """Functions are left uncompiled, as in a recording; afterwards as they were."""
    for name in ("script", "script_method", "script_if_tracing"):
        monkeypatch.setattr(torch.jit, name, getattr(torch.jit, name))
    monkeypatch.setattr(torch, "compile", torch.compile)
    leave_functions_alone()


@pytest.mark.parametrize("name", IDIOMS)
def test_the_port_computes_the_same(tmp_path, name, uncompiled):
    future = FUTURE if FUTURE in IDIOMS[name] else ""
    text = f"{future}{IMPORTS}\n{IDIOMS[name].replace(FUTURE, '')}"
    record, net = recorded(tmp_path, {"idiom": text})
    assert record.failed == {}
    assert [str(gap) for gap in written(record)[1].gaps] == []
    theirs, ours = both_outputs(tmp_path, record, net, train=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_write_inside_a_call_is_one_in_the_port_too(tmp_path):
    """Both ways in which the caller sees it: a block of the user's, and a Sequential."""
    record, _ = recorded(tmp_path, {"idiom": IMPORTS + IDIOMS["in place across a call"]})
    text = written(record)[0]["idiom.py"]
    assert text.count("ReLUInPlace()") == 2
    plain = IDIOMS["in place across a call"].replace("self.a(x) + x", "self.a(x)")
    plain = plain.replace("return z + y", "return z")
    record, _ = recorded(tmp_path, {"idiom": IMPORTS + plain})
    assert "ReLUInPlace" not in written(record)[0]["idiom.py"]


REGISTRY = """
import sys

NETS, SETTINGS = {}, {}


def register(function):
    module = sys.modules[function.__module__]
    NETS[function.__name__] = function
    if hasattr(module, "settings") and function.__name__ in module.settings:
        SETTINGS[function.__name__] = module.settings[function.__name__]
    return function


def make(name):
    if name not in SETTINGS:
        raise KeyError(name)
    return NETS[name](**SETTINGS[name])
"""

NAMED = """
from more import WIDTH
from registry import make, register

settings = {"small": {"width": WIDTH}}
unused = {"large": {"width": 9}}


@register
def small(width):
    return nn.Conv2d(3, width, 1)


def build():
    return make("small")
"""
STARS = {
    "more": "from numbers_too import *\n",
    "numbers_too": "from wide import *\n",
    "wide": "WIDTH = 2\nDEPTH = 3\n",
}


def test_what_is_read_of_a_module_that_a_registry_asks_for_is_kept(tmp_path):
    """Nothing but `sys.modules[...].settings`, in another file, says that it is needed.

    The number in it comes by way of `*` and `*`.
    """
    texts = {"idiom": f"{IMPORTS}\n{NAMED}", "registry": REGISTRY, **STARS}
    record, net = recorded(tmp_path, texts, "build")
    files = written(record)[0]
    assert "settings = " in files["idiom.py"]
    assert "unused" not in files["idiom.py"]
    assert files["wide.py"].strip() == "WIDTH = 2"
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
