"""Things that strings reach: registries that imports fill, scopes, modules and classes by name."""

import importlib

import numpy as np
import pytest

pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.folder import write_folder
from port.helpers.calls_paddle import as_torchs, located, name_of_module
from port.record.hook_torch import _ask_package
from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, build_port, recorded, written

REGISTRY = """
import inspect
import sys
from importlib import import_module


class Registry:
    def __init__(self, places):
        self.scope, self.caller = self.scope_of_caller(), inspect.stack()[1].function
        self.places, self.known = places, {}

    @staticmethod
    def scope_of_caller():
        assert inspect.currentframe().f_back.f_code.co_name == "__init__"
        return inspect.getmodule(sys._getframe(2)).__name__.partition(".")[0]

    def register(self, name=None, module=None):
        if module is not None:
            self.known[name] = module
            return module

        def add(kind):
            self.known[kind.__name__] = kind
            return kind

        return add

    def __str__(self):
        return self.scope

    __repr__ = __str__

    def build(self, settings):
        for place in self.places:
            import_module(place)
        settings = dict(settings)
        return self.known[settings.pop("type")](**settings)


MODELS = Registry(["kinds.nets"])
"""
FILES = {
    "app": """
from kinds.registry import MODELS
from kinds.setup import register_all

register_all()


def build():
    return MODELS.build({"type": "Net", "conv": {"type": "Conv", "bias": False}})
""",
    "kinds.__init__": "",
    "kinds.registry": REGISTRY,
    "kinds.setup": """
from kinds.registry import MODELS

READY = []


def register_all():
    READY.append((MODELS.scope, MODELS.caller))
""",
    "kinds.bricks": """
import torch.nn as nn

from kinds.registry import MODELS

MODELS.register("Conv", module=nn.Conv2d)
MODELS.register("Volumes", module=nn.Conv3d)


def conv(settings, *args, **kwargs):
    settings = dict(settings)
    layer = MODELS.known[settings.pop("type")]
    return layer(*args, **kwargs, **settings)
""",
    "kinds.nets.__init__": "from .small import Net\n",
    "kinds.nets.small": """
import torch.nn as nn

from kinds.bricks import conv as make
from kinds.registry import MODELS
from kinds.setup import READY


class Named:
    def __init__(self, tag="t"):
        super().__init__()
        self.tag = tag


class Stack(Named, nn.Sequential):
    def __init__(self, *layers):
        Named.__init__(self)
        nn.Sequential.__init__(self, *layers)


@MODELS.register()
class Net(nn.Module):
    def __init__(self, conv):
        super().__init__()
        assert READY == [("kinds", "<module>")]
        self.layers = Stack(make(conv, 3, 4, 3, padding=1), nn.Dropout(0.0))

    def forward(self, x):
        return self.layers(x)
""",
}
LOCATED = """
import pydoc


class Block(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv(3, 4, 1, bias=False)

    def forward(self, x):
        return nn.Conv2d.forward(self.conv, x)


def build():
    return pydoc.locate("places.Block")(conv=pydoc.locate("torch.nn.Conv2d"))
"""
BRANCHES = """
def bases(old=False):
    if old:
        from parrots.norms import _BatchNorm
    else:
        from torch.nn.modules.batchnorm import _BatchNorm
    return _BatchNorm


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        assert isinstance(self.norm, bases())

    def forward(self, x):
        return self.norm(x)
"""
THAWED = """
class Net(nn.Module):
    def __init__(self, train=True):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        for one in self.norm.parameters():
            one.requires_grad = False
        for one in self.norm.parameters():
            one.requires_grad = train
        for _, one in self.named_parameters():
            one.requires_grad_()

    def forward(self, x):
        return self.norm(x)
"""


def test_a_registry_is_filled_and_called_as_the_references_own(tmp_path):
    record, net = recorded(tmp_path, FILES, "build")
    files, port = written(record)
    assert port.gaps == []
    assert "from .small import Net" in files["kinds/nets/__init__.py"]
    assert 'MODELS.register("Conv", module=nn.Conv2D)' in files["kinds/bricks.py"]
    bricks = "return as_torchs(layer, Conv2d)(*args, **kwargs, **settings)"
    assert bricks in files["kinds/bricks.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_what_a_dotted_path_names_is_the_ports(tmp_path):
    record, net = recorded(tmp_path, {"places": HEAD + LOCATED}, "build")
    files, port = written(record)
    assert port.gaps == []
    line = (
        'located("places.Block")(conv=located("torch.nn.Conv2d", {"torch.nn.Conv2d": nn.Conv2D}))'
    )
    assert line in files["places.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_of_two_branches_that_import_a_name_the_one_that_ran_counts(tmp_path):
    record, net = recorded(tmp_path, {"branch": HEAD + BRANCHES})
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_loop_that_unfreezes_leaves_the_statistics_of_norms_alone(tmp_path):
    record, _ = recorded(tmp_path, {"thaw": HEAD + THAWED})
    files, port = written(record)
    assert "for one in weights_of(self.norm):" in files["thaw.py"]
    assert "for _, one in named_weights_of(self):" in files["thaw.py"]
    assert "for one in self.norm.parameters():" in files["thaw.py"]
    place = tmp_path / "port_thaw"
    write_folder(place, port, {"spec": "here", "arguments": {}})
    net = build_port(place)
    frozen = [name for name, one in net.named_parameters() if one.stop_gradient]
    assert frozen == ["norm._mean", "norm._variance"]


def test_a_package_uses_torch_whatever_its_hidden_folders_hold(tmp_path):
    package = tmp_path / "site-packages" / "nets"
    (package / ".settings").mkdir(parents=True)
    for number in range(401):
        (package / ".settings" / f"a{number}.py").write_text("", encoding="utf-8")
    (package / "z.py").write_text("import torch\n", encoding="utf-8")
    assert _ask_package(package)


def test_helpers_refuse_what_was_not_seen():
    kind = type("Conv2d", (paddle.nn.Conv2D,), {})
    own = type("Own", (), {})
    assert as_torchs(paddle.nn.Conv2D, kind) is kind
    assert as_torchs(own, kind) is own
    with pytest.raises(NotImplementedError, match="Linear"):
        as_torchs(paddle.nn.Linear, kind)
    with pytest.raises(NotImplementedError, match=r"torch\.nn\.Linear"):
        located("torch.nn.Linear")
    assert located("nothing.at.all") is None
    assert name_of_module(np.linalg) == "numpy.linalg"


class Watch:
    """Stands in the place of `importlib.import_module`, as it does where the command records."""

    def __init__(self):
        self.by_name = importlib.import_module

    def import_module(self, name, package=None):
        return self.by_name(name, package)


def test_a_watch_of_imports_hides_no_module(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib, "import_module", Watch().import_module)
    files, _ = written(recorded(tmp_path, FILES, build="build")[0])
    assert "module_of_port(place)" in files["kinds/registry.py"]
