"""What libraries of nets do: the port computes what the reference computes, without a gap."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

ASKED = """import kinds


class Missing:
    def __getattr__(self, name):
        raise RuntimeError(f"{name}: the package is not installed")


missing = Missing()


def build(name="Small"):
    return getattr(kinds, name)(width=getattr(kinds.sizes, "WIDTH"))
"""
KINDS = {
    "asks": ASKED,
    "kinds.__init__": "from . import sizes\nfrom .nets import Large, Small\n",
    "kinds.sizes": "import torch\n\nWIDTH = 4\nDEPTH = 5\n",
    "kinds.nets": f"""{HEAD}
class Small(nn.Conv2d):
    def __init__(self, width):
        super().__init__(3, width, 1)


class Large(Small):
    pass
""",
}

IDIOMS = {
    "what transformers does to torch": """
import functools

from torch.utils import _pytree


class Output(dict):
    pass


_pytree.register_pytree_node(Output, list, lambda values, _: Output(values))


class Base(nn.Module):
    save = staticmethod(torch.save)

    def __init__(self):
        super().__init__()
        if not hasattr(torch.nn.Module, "each_in_turn"):
            def each_in_turn(self, fn):
                for module in self.children():
                    module.each_in_turn(fn)
                fn(self)
                return self

            torch.nn.Module.each_in_turn = each_in_turn

    @functools.wraps(torch.nn.Module.cuda)
    def cuda(self, *args, **kwargs):
        return super().cuda(*args, **kwargs) if torch.version.cuda else self

    def begun(self, module):
        if isinstance(module, nn.Conv2d):
            module.bias.data.fill_(0.5)


class Net(Base):
    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
        self.each_in_turn(self.begun)

    def forward(self, x):
        return self.cuda().convs(x)
""",
    "a BatchNorm that counts its batches by hand": """
class Counted(nn.BatchNorm2d):
    def forward(self, x):
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
                if self.momentum is None:
                    factor = 1.0 / float(self.num_batches_tracked)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, factor,
            self.eps,
        )


class Older(nn.BatchNorm2d):
    def forward(self, x):
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked = self.num_batches_tracked + 1
        return super().forward(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.counted, self.older = Counted(3), Older(3)

    def forward(self, x):
        return self.counted(x) + self.older(x)
""",
    "settings that look up every name by a method of their own": """
class Settings:
    names = {"size": "width"}

    def __init__(self, width):
        self.width = width

    def __getattribute__(self, key):
        known = super().__getattribute__("names")
        return super().__getattribute__(known.get(str(key), key))


def made(settings):
    return nn.Conv2d(3, settings.size, 1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = made(Settings(4))

    def forward(self, x):
        return self.conv(x)
""",
    "a device handed on to a base": """
class Padded(nn.Conv2d):
    def __init__(self, inputs, outputs, kernel, **kwargs):
        super().__init__(inputs, outputs, kernel, **kwargs)


class Net(nn.Module):
    def __init__(self, device=None, dtype=None):
        super().__init__()
        placed = {"device": device, "dtype": dtype}
        self.first = Padded(3, 4, 3, bias=False, **placed)
        self.second = Padded(4, 4, 1, **placed)

    def forward(self, x):
        return self.second(self.first(x))
""",
}


UNREACHED = """
class Net(nn.Module):
    def __init__(self, tokens=0, **placed):
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(1, tokens, **placed)) if tokens else None
        self.norm = tokens and torch.special.entr(torch.ones(tokens)) or None
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x) if self.tokens is None else torch.special.erfcx(x)
"""


def test_a_call_that_its_line_went_around_is_no_gap_of_the_run(tmp_path):
    record, net = recorded(tmp_path, {"idiom": HEAD + UNREACHED})
    files, port = written(record)
    assert [(gap.api, gap.ran) for gap in port.gaps] == [
        ("torch.empty", False), ("torch.special.entr", False), ("torch.special.erfcx", False)
    ]  # fmt: skip
    assert 'not_ported("torch.empty", "idiom.py:10")' in files["idiom.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", IDIOMS)
def test_the_port_computes_the_same(tmp_path, name):
    record, net = recorded(tmp_path, {"idiom": HEAD + IDIOMS[name]})
    assert record.failed == {}
    assert [str(gap) for gap in written(record)[1].gaps] == []
    theirs, ours = both_outputs(tmp_path, record, net, train=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_what_is_asked_of_a_module_by_its_name_is_kept(tmp_path):
    """A stand-in that raises whatever it is asked for stands beside."""
    record, net = recorded(tmp_path, KINDS, "build")
    files, port = written(record)
    assert port.gaps == []
    assert "Large" not in files["kinds/nets.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
