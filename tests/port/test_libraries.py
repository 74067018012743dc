"""What libraries of nets do: the port computes what the reference computes, without a gap."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, build_port, recorded, written

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
    "convolutions dilated after they were made, as segmentation_models' encoders": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 3, 3, 1, 1))
        for module in self.layers.modules():
            if isinstance(module, nn.Conv2d):
                module.stride, module.dilation = (1, 1), (2, 2)
                height, _ = module.kernel_size
                module.padding = ((height // 2) * 2, (height // 2) * 2)

    def forward(self, x):
        return self.layers(x)
""",
    "names that torch has from Python, and a checkpoint as a value": """
from torch.jit import Final
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    fused: Final[bool]

    def __init__(self, way=checkpoint):
        super().__init__()
        self.fused: Final = True
        self.conv, self.way = nn.Conv2d(3, 3, 1), way

    def forward(self, x):
        return self.conv(x) if self.fused else self.way(self.conv, x, use_reentrant=False)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return self.block(x)
""",
    "layers of strings, beside the user's own": """
class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


def made(kinds):
    for name, *arguments in kinds:
        kind = eval(name) if isinstance(name, str) else name
        sizes = [eval(one) if isinstance(one, str) else one for one in arguments]
        yield kind(4, sizes[0], 1) if sizes else kind()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = eval("nn.Conv2d")(3, "ab".count("a") + 3, 1)
        kinds = [("nn.Conv2d", "2 + 3"), ("Twice",), ("nn.Hardswish",), (nn.Tanh,)]
        self.rest = nn.Sequential(*made(kinds))
        exec("self.width = 3 + 4")

    def forward(self, x):
        return self.rest(self.first(x)) * self.width
""",
    "a factory of layers, as monai's": """
class Factory:
    def __init__(self):
        self.kinds = {}

    def add(self, name, kind):
        self.kinds[name] = kind


Act, Norm = Factory(), Factory()
Act.add("prelu", nn.modules.PReLU)
Act.add("gelu", lambda: nn.modules.activation.GELU)
Norm.add("instance", lambda dim: (None, nn.InstanceNorm1d, nn.InstanceNorm2d)[dim])


def norm(kind, dim, channels, given):
    made = Norm.kinds[kind](dim)
    kw_args = dict(given)
    return made(channels, **kw_args)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = norm("instance", 2, 3, {"affine": True, "eps": 1e-3})
        self.act, self.last = Act.kinds["prelu"](), Act.kinds["gelu"]()()

    def forward(self, x):
        return self.last(self.act(self.norm(self.conv(x))))
""",
    "other layers, functions and signs that write into what a caller reads": """
class Layers(nn.Module):
    def __init__(self, act=nn.LeakyReLU):
        super().__init__()
        self.soft = nn.SiLU(inplace=True)
        self.act = act(0.3, inplace=True)

    def forward(self, x):
        self.soft(x)
        return self.act(x) * 2


def functions(x):
    return F.elu(x, 0.5, inplace=True).sum()


def signs(x, y):
    x += y
    x *= 3 - 0.5
    return x.mean()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.layers = nn.Conv2d(3, 3, 1), Layers()

    def forward(self, x):
        y = self.conv(x)
        total = self.layers(y) + y
        z = self.conv(total)
        total = total + functions(z) + z
        kept = total
        return signs(total, x) + kept * total
""",
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


LAZY = {
    "lazily": """from lazy_nets import Small, WIDTH


def build():
    return Small(int(WIDTH(4)))
""",
    "lazy_nets.__init__": """import importlib
import sys
import types


class _LazyModule(types.ModuleType):
    homes = {"Small": "parts", "WIDTH": "parts"}

    def __getattr__(self, name):
        if name not in self.homes:
            raise AttributeError(name)
        home = importlib.import_module(f".{self.homes[name]}", self.__name__)
        return getattr(home, name)


module = _LazyModule(__name__)
module.__path__, module.__spec__, module.__file__ = __path__, __spec__, __file__
sys.modules[__name__] = module
""",
    "lazy_nets.parts": f"""{HEAD}
class WIDTH(int):
    pass


class Small(nn.Conv2d):
    def __init__(self, width):
        super().__init__(3, width, 1)
""",
}


INSIDE = """def build():
    from lazy_nets import Small, WIDTH

    return Small(int(WIDTH(4)))
"""


@pytest.mark.parametrize("user", [LAZY["lazily"], INSIDE], ids=["top", "inside"])
def test_what_a_package_makes_up_is_imported_from_where_it_stands(tmp_path, user):
    record, net = recorded(tmp_path, LAZY | {"lazily": user}, "build")
    assert "from .lazy_nets.parts import Small" in written(record)[0]["lazily.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


BY_NAME = """import lazy_nets


def build():
    return lazy_nets.Small(int(lazy_nets.WIDTH(4)))
"""


def test_a_library_binds_what_it_makes_up_and_is_asked_for(tmp_path):
    record, net = recorded(tmp_path, LAZY | {"lazily": BY_NAME}, "build")
    for name in ("lazy_nets", "lazy_nets.parts"):
        record.files[name].library = True
    files, _ = written(record)
    assert "from .parts import Small" in files["ported_lazy_nets/__init__.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


FETCHED = """
def optional(package, name):
    return getattr(package, name)


Loss, Conv = optional(nn, "CTCLoss"), optional(nn, "Conv2d")


class Net(nn.Module):
    def __init__(self, loss=Loss):
        super().__init__()
        self.conv, self.loss = Conv(3, 4, 1), loss

    def forward(self, x):
        return self.conv(x)
"""


def test_what_is_fetched_and_never_called_raises_when_it_is(tmp_path):
    record, net = recorded(tmp_path, {"idiom": HEAD + FETCHED})
    assert written(record)[1].gaps == []
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    ported = build_port(next(tmp_path.glob("port_*")))
    with pytest.raises(NotImplementedError, match=r"idiom.py:8: torch.nn.CTCLoss has no spelling"):
        ported.loss()


STRINGS = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = eval("nn.ReLU(inplace=False)")
        exec("self.conv = nn.Conv2d(3, 4, 1)")

    def forward(self, x):
        return eval("torch.cat([x, self.conv(self.act(x))], 1)")
"""


def test_strings_that_compute_with_torch_are_refused_by_their_place(tmp_path):
    record, _ = recorded(tmp_path, {"idiom": HEAD + STRINGS})
    gaps = written(record)[1].gaps
    assert [(gap.where.line, gap.ran) for gap in gaps] == [(11, True), (14, True)]
    assert "runs 'torch.cat([x, self.conv(self.act(x))], 1)'" in str(gaps[1])


def test_a_call_that_its_line_went_around_is_no_gap_of_the_run(tmp_path):
    record, net = recorded(tmp_path, {"idiom": HEAD + UNREACHED})
    files, port = written(record)
    assert [(gap.api, gap.ran) for gap in port.gaps] == [
        ("torch.empty", False), ("torch.special.entr", False), ("torch.special.erfcx", False)
    ]  # fmt: skip
    assert 'not_ported("torch.empty", "idiom.py:10")' in files["idiom.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_padding_that_was_set_is_the_layers_own(tmp_path):
    name = next(name for name in IDIOMS if name.startswith("convolutions dilated"))
    record, net = recorded(tmp_path, {"idiom": HEAD + IDIOMS[name]})
    both_outputs(tmp_path, record, net)
    layer = build_port(next(tmp_path.glob("port_*"))).layers[2]
    assert list(layer._padding) == list(layer._updated_padding) == [2, 2]


def test_writes_inside_calls_stand_in_the_port_and_reach_the_gradient(tmp_path):
    name = "other layers, functions and signs that write into what a caller reads"
    record, net = recorded(tmp_path, {"idiom": HEAD + IDIOMS[name]})
    text = written(record)[0]["idiom.py"]
    for line in (
        "self.soft = in_place(nn.Silu())",
        "self.act = in_place(act(0.3))",
        "return into(F.elu)(x, 0.5).sum()",
        "write_into(x, x.clone() * (3 - 0.5))",
    ):
        assert line in text
    both_outputs(tmp_path, record, net)
    theirs, ours = gradients(tmp_path, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def gradients(folder, net):
    """Return the gradient of a sum of squares by an image, of the net and of its port."""
    ported = build_port(next(folder.glob("port_*"))).to(dtype="float64")
    fill_port(LiveReference(net), ported, None)
    image = np.random.default_rng(1).standard_normal((2, 3, 4, 4))
    given = torch.from_numpy(image).requires_grad_()
    net.train()(given).pow(2).sum().backward()
    tensor = paddle.to_tensor(image, stop_gradient=False)
    ported.train()
    ported(tensor).pow(2).sum().backward()
    return given.grad.numpy(), tensor.grad.numpy()


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
