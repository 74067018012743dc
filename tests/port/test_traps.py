"""Small nets with traps: the port computes what the reference computes, or says what it cannot."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.record.stand_ins.downloads_torch import without_weights
from tests.port.trial import both_outputs, recorded, written

HEAD = """import torch
import torch.nn as nn
import torch.nn.functional as F


"""
TRAPS = {
    "an activation writes into what is read later": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.conv(x)
        z = self.relu(y)
        return self.conv(z) + y
""",
    "a function writes in place and returns nothing that is kept": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        y = self.conv(x)
        F.relu(y, inplace=True)
        return y * 2
""",
    "+= reaches the other name": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        y = self.conv(x)
        kept = y
        y += 1
        return y * kept
""",
    "a function of the file has the name of torch's that it calls": """
def kaiming_normal_(weight):
    nn.init.kaiming_normal_(weight, a=1.0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        kaiming_normal_(self.conv.weight)

    def forward(self, x):
        return self.conv(x)
""",
    "a class without a constructor": """
class Flat(nn.Module):
    def forward(self, x):
        return x.view(x.size(0), -1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Sequential(Flat(), nn.Linear(192, 3))

    def forward(self, x):
        return self.last(x)
""",
    "arithmetic on sizes": """
class Net(nn.Module):
    def forward(self, x):
        n, c = x.size(0), x.shape[1]
        h, w = x.size()[2:]
        y = x.permute(0, 2, 3, 1).contiguous().view(n, h * w, -1)
        return y.transpose(1, 2).reshape(n, c, *x.shape[-2:])
""",
    "classes as values": """
class Block(nn.Module):
    def __init__(self, norm_layer=nn.BatchNorm2d, act=nn.ReLU):
        super().__init__()
        self.norm = norm_layer(3, momentum=0.3)
        self.act = act(inplace=True)

    def forward(self, x):
        return self.act(self.norm(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return self.block(x)
""",
    "one name for layers that are called apart": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        kinds = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d, "own": self.own}
        self.pools = nn.ModuleList([kinds[k](3, stride=1, padding=1) for k in kinds])

    def own(self, size, stride, padding):
        return nn.Conv2d(3, 3, size, stride, padding)

    def forward(self, x):
        return sum(pool(x) for pool in self.pools)
""",
    "weights that would be downloaded": """
from torch.hub import load_state_dict_from_url
from torch.utils import model_zoo


def fetched(url, *args, **kwargs):
    return load_state_dict_from_url(url, *args, **kwargs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.conv.load_state_dict(fetched("https://nowhere.invalid/a.pth", progress=True))
        state = model_zoo.load_url("https://nowhere.invalid/b.pth")["model"]
        own = self.state_dict()
        own.update({k: v for k, v in state.items() if k in own})
        self.load_state_dict(own)
        saved = torch.load("pretrained/nowhere.pth", map_location="cpu")
        own.update({k: v for k, v in saved.items() if k in own})
        self.load_state_dict(own)

    def forward(self, x):
        return self.conv(x)
""",
    "a class that is patched before it is built": """
import trapped_parts
from trapped_parts import Block, Made

Block.act = lambda self, x: x.relu()
trapped_parts.WIDTH = 5


def build():
    return Made()
""",
    "partial": """
from functools import partial


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.2)
        self.norm = norm(3)

    def forward(self, x):
        return self.norm(x)
""",
    "lambda": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        make = lambda a, b: nn.Conv2d(a, b, 3, padding=1, bias=False)
        self.first, self.second = make(3, 4), make(4, 3)

    def forward(self, x):
        return self.second(self.first(x))
""",
    "a subclass of a layer, with super's constructor by keyword": """
class Same(nn.Conv2d):
    def __init__(self, a, b, kernel):
        super(Same, self).__init__(a, b, kernel, padding=kernel // 2, bias=False)

    def forward(self, x):
        return super().forward(x) * 2


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Same(3, 4, 3)

    def forward(self, x):
        return self.conv(x)
""",
    "a subclass that inherits the constructor": """
class ChannelsNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = ChannelsNorm(3, eps=1e-3)

    def forward(self, x):
        return self.norm(x)
""",
    "slices of a Sequential keep their keys": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
        self.first, self.rest = layers[:1], layers[1:]

    def forward(self, x):
        return self.rest(self.first(x))
""",
    "properties, class attributes, keywords handed on": """
class Base(nn.Module):
    width = 4

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.make(*args, **kwargs)

    def make(self, inner, bias=True):
        self.conv = nn.Conv2d(3, self.width, inner, bias=bias)

    @property
    def doubled(self):
        return 2 * self.width


class Net(Base):
    def __init__(self):
        super().__init__(1, bias=False)

    def forward(self, x):
        return self.conv(x) * self.doubled
""",
    "arguments that nobody counts": """
class Conv(nn.Module):
    def __init__(self, *args, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(*args, **kwargs)

    def forward(self, x):
        return self.conv(x)


class Twice(nn.Conv2d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

    def forward(self, x):
        return 2 * super().forward(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Conv(3, 4, 3, padding=1)
        self.second = Twice(4, 3, kernel_size=1, bias=False)

    def forward(self, x):
        return self.second(self.first(x))
""",
    "keywords handed on to a class that is a value": """
class Net(nn.Module):
    def __init__(self, norm=nn.BatchNorm2d, norm_kwargs=None, **kwargs):
        super().__init__()
        self.first = norm(3, **({} if norm_kwargs is None else norm_kwargs))
        self.second = self.make(norm, momentum=0.3)

    def make(self, norm, **kwargs):
        return norm(3, **kwargs)

    def forward(self, x):
        return self.second(self.first(x))
""",
    "layers counted by nobody are layers all the same": """
class Block(nn.Sequential):
    def __init__(self, *layers):
        super().__init__(*layers)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block(nn.Conv2d(3, 3, 1), nn.ReLU())

    def forward(self, x):
        return self.block(x)
""",
    "a registry by string": """
LAYERS = {}


def register(name):
    def keep(kind):
        LAYERS[name] = kind
        return kind
    return keep


@register("conv")
class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = LAYERS["co" + "nv"]()

    def forward(self, x):
        return self.layer(x)
""",
    "a dataclass as config": """
from dataclasses import dataclass


@dataclass
class Config:
    width: int = 5
    act: type = nn.GELU


class Net(nn.Module):
    def __init__(self, config=Config()):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, config.width, 1), config.act()

    def forward(self, x):
        return self.act(self.conv(x))
""",
    "imports under conditions": """
try:
    from inplace_abn import InPlaceABN
except ImportError:
    InPlaceABN = None
try:
    from torch.hub import load_state_dict_from_url
except ImportError:
    from torch.utils.model_zoo import load_url as load_state_dict_from_url


class Net(nn.Module):
    def __init__(self, pretrained=False):
        super().__init__()
        self.norm = nn.BatchNorm2d(3) if InPlaceABN is None else InPlaceABN(3)
        if pretrained:
            self.load_state_dict(load_state_dict_from_url("https://nowhere"))

    def forward(self, x):
        return self.norm(x)
""",
    "a resize by a factor": """
class Net(nn.Module):
    def forward(self, x):
        x = F.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=False)
        return F.interpolate(x, scale_factor=2)
""",
    "what a spelling needs twice runs once": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.runs = 0

    def counted(self, x):
        self.runs += 1
        return self.norm(x) * self.runs

    def forward(self, x):
        self.runs = 0
        y = torch.var_mean(self.counted(x), dim=1, keepdim=True)[0]
        return y + self.counted(x).split(2, dim=1)[1] + self.counted(x).transpose(1, 2).max()
""",
    "layers in a loop by name": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for i in range(2):
            setattr(self, f"conv{i}", nn.Conv2d(3, 3, 1))

    def forward(self, x):
        for i in range(2):
            x = getattr(self, "conv%d" % i)(x)
        return x
""",
    "attributes set after construction": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                m.dilation, m.padding = (2, 2), (2, 2)
                m.weight.data.normal_(0, 0.1)

    def forward(self, x):
        return self.conv(x)
""",
    "parameters of one's own": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 3, 1, 1) * 0.5)
        self.register_buffer("shift", torch.arange(3.0).view(1, -1, 1, 1))
        nn.init.trunc_normal_(self.scale, std=0.02)

    def forward(self, x):
        return x * self.scale + self.shift
""",
}


PARTS = """
WIDTH = None


class Block(nn.Module):
    def act(self, x):
        raise NotImplementedError


class Made(Block):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 1)

    def forward(self, x):
        return self.act(self.conv(x))
"""


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", TRAPS)
def test_the_port_computes_the_same(tmp_path, name, train):
    with without_weights() as sought:
        texts = {"trapped": HEAD + TRAPS[name], "trapped_parts": HEAD + PARTS}
        record, net = recorded(tmp_path, texts, "Net" if "class Net" in TRAPS[name] else "build")
    theirs, ours = both_outputs(tmp_path, record, net, train=train)
    assert bool(sought.absent) == (name == "weights that would be downloaded")
    assert written(record)[1].gaps == [] or name == "imports under conditions"
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


BASE = """import torch
from torch import nn
from torch.nn import functional as F


def noted(kind):
    return kind
"""
LATE = """from base import *

has_silu = "silu" in dir(torch.nn.functional)


@noted
class Net(nn.Module):
    def forward(self, x):
        return F.silu(x) if has_silu else torch.relu(x)
"""
LATER = """def build():
    from late import Net

    return Net()
"""


def test_torch_by_another_files_star_and_an_import_in_the_factory(tmp_path):
    texts = {"later": LATER, "late": LATE, "base": BASE}
    record, net = recorded(tmp_path, texts, "build")
    assert record.files["base"].at_work == set(), "what an import runs is no work of the net"
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


REGISTRY = {
    "asks": """import named
import torch


def build():
    return named.make("Net")
""",
    "named.__init__": """from .registry import make
from .nets import *
""",
    "named.registry": """'A registry.\\n\\nLicence: none.'
import logging

KINDS = {}
LOG, WORDS = logging.getLogger("named"), "no {}"


def register(kind):
    KINDS[kind.__name__] = kind
    return kind


def make(name):
    if name not in KINDS:
        LOG.warning(WORDS.format(name))
    return KINDS[name]()
""",
    "named.nets": '''# Copyright of its authors.
"""Nets by their names."""
from torch import nn

from .registry import register

__all__ = []


@register
class Net(nn.Module):
    def forward(self, x):
        return nn.functional.relu(x)
''',
}


def test_a_library_with_a_registry_keeps_its_imports_and_its_licence(tmp_path):
    folder = tmp_path / "site-packages"
    (folder / "named-1.2.dist-info").mkdir(parents=True)
    told = folder / "named-1.2.dist-info" / "METADATA"
    told.write_text("Metadata-Version: 2.1\nName: Named\nVersion: 1.2\n", "utf-8")
    record, net = recorded(folder, REGISTRY, "build")
    theirs, ours = both_outputs(folder, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    texts, _ = written(record)
    assert texts["ported_named/nets.py"].startswith(
        "# Copyright of its authors.\n# Ported to PaddlePaddle from named 1.2: calls of torch"
    )
    assert texts["ported_named/__init__.py"].startswith("# Ported to PaddlePaddle from named 1.2")
    assert "Licence: none.'\n# Ported to PaddlePaddle" in texts["ported_named/registry.py"]
    assert 'not_here("registry.py:15")' in texts["ported_named/registry.py"]
    assert "from . import ported_named as named" in texts["ported_asks.py"]


HANDED = {
    "handing": """from functools import partial

import torch
from torch import nn

from handed import _assert, shut


class Net(nn.Module):
    wide: torch.jit.Final[bool]

    def __init__(self, device=None):
        super().__init__()
        dd = {"device": device, "dtype": None}
        make = partial(nn.Conv2d, kernel_size=1)
        self.conv = make(3, 4, bias=False, **dd)

    @torch.jit.unused  # noqa
    def inner(self, x):
        return self.conv(x)

    def forward(self, x):
        _assert(x.dim() == 4, "four axes")
        return shut(self.inner(x))
""",
    "handed": """try:
    from torch import _assert
except ImportError:
    _assert = None
from torch import sigmoid as shut
""",
}


def test_what_another_file_has_from_torch_and_keywords_for_a_partial(tmp_path):
    record, net = recorded(tmp_path, HANDED)
    texts, port = written(record)
    assert [gap for gap in port.gaps if gap.ran] == []
    assert "wide: object" in texts["handing.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
