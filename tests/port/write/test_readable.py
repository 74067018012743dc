"""What a port reads like: nothing stands in it that a user of Paddle would not have written."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from port.port import references_own
from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

# What the reference says, and what the port is to say for it.
LINES = {
    "the same layer twice in a call": (
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(3, 3, 1),
            nn.GELU(),
            nn.Conv2d(3, 3, 1),
            nn.GELU(),
        )

    def forward(self, x):
        return self.mix(x)
""",
        """
        self.mix = nn.Sequential(
            nn.Conv2D(3, 3, 1),
            nn.GELU(),
            nn.Conv2D(3, 3, 1),
            nn.GELU(),
        )
""",
    ),
    "keywords in the user's order": (
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False, groups=1, padding=2, dilation=2)
        self.norm = nn.BatchNorm2d(4, momentum=0.1, eps=1e-3)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return F.interpolate(x, mode="bilinear", size=(5, 5), align_corners=False)
""",
        """
        self.conv = nn.Conv2D(3, 4, 3, bias_attr=False, groups=1, padding=2, dilation=2)
        self.norm = nn.BatchNorm2D(4, momentum=0.9, epsilon=1e-3)
""",
    ),
    "a constructor's call over several lines": (
        """
class Net(nn.Sequential):
    def __init__(self, width=3):
        super().__init__(
            nn.Conv2d(3, width, 1, bias=False),  # mixes
            nn.BatchNorm2d(width, momentum=1 - 0.999),
        )
""",
        """
        super().__init__(
            nn.Conv2D(3, width, 1, bias_attr=False),  # mixes
            nn.BatchNorm2D(width, momentum=0.999),
        )
""",
    ),
    "a shape beside a tuple": (
        """
class Net(nn.Module):
    def forward(self, x):
        assert x.shape == (2, 3, 8, 8) and x.shape[2:] == x.size()[2:]
        assert x.shape != torch.Size([1]) and (3, 8) == x.size()[1:3]
        return x
""",
        """
        assert tuple(x.shape) == (2, 3, 8, 8) and x.shape[2:] == x.shape[2:]
        assert tuple(x.shape) != tuple([1]) and (3, 8) == tuple(x.shape[1:3])
""",
    ),
    "loading that did not run": (
        """
class Net(nn.Module):
    def forward(self, x):
        return x

    def filled(self, state):
        self.load_state_dict(state)
        return self


def build(state=None):
    net = Net()
    return net if state is None else net.filled(state)
""",
        """
        load_all(self, state)
""",
    ),
    "an argument that falls away takes its line with it": (
        """
class Net(nn.Module):
    def forward(self, x):
        return F.relu(x * 2,
                      inplace=True)
""",
        """
        return F.relu(x * 2)
""",
    ),
    "annotations name classes, whatever their calls are spelled": (
        """
from typing import Optional, Union

from torch import Tensor

Found = Union[torch.Tensor, list[Tensor]]


class Net(nn.Module):
    scale: Optional[nn.Parameter] = None

    def forward(self, x: torch.Tensor, low: Optional[Tensor] = None) -> Found:
        made: torch.FloatTensor = x * 2
        return made
""",
        """
Found = Union[paddle.Tensor, list[paddle.Tensor]]


class Net(nn.Layer):
    scale: Optional[paddle.base.framework.EagerParamBase] = None

    def forward(self, x: paddle.Tensor, low: Optional[paddle.Tensor] = None) -> Found:
        made: paddle.Tensor = x * 2
""",
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_a_port_reads_as_written_by_hand(tmp_path, name):
    text, expected = LINES[name]
    record, _ = recorded(
        tmp_path, {"plain": HEAD + text}, "build" if "def build" in text else "Net"
    )
    files, port = written(record)
    assert port.gaps == []
    assert expected.strip("\n") in files["plain.py"]


EINOPS = """from einops.layers.torch import Rearrange
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.turn = Rearrange("b c h w -> b h w c")

    def forward(self, x):
        return self.turn(x)
"""


SPACED = {
    "spaced": """from spaced_parts import blocks as b, heads
from spaced_parts.heads import WIDTH


class Net(b.nn.Module):
    def __init__(self):
        super().__init__()
        self.block = b.Block(WIDTH)
        self.head = heads.Head()

    def forward(self, x):
        return self.head(self.block(x))
""",
    "spaced_parts.blocks": "from torch import nn\n\n\nclass Block(nn.Conv2d):\n"
    "    def __init__(self, n):\n        super().__init__(n, n, 1)\n",
    "spaced_parts.heads": "from torch import nn\n\nWIDTH = 3\n\n\nclass Head(nn.Module):\n"
    "    def forward(self, x):\n        return x * WIDTH\n",
}


def test_a_package_without_a_file_of_its_own_is_imported_from_the_port(tmp_path):
    record, net = recorded(tmp_path, SPACED)
    files, _ = written(record)
    assert "from .spaced_parts import blocks as b, heads\n" in files["spaced.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_module_of_the_references_is_a_gap(tmp_path):
    record, _ = recorded(tmp_path, SPACED)
    text = "import os\nfrom . import heads\n\nif os.sep:\n    from spaced_parts import blocks\n"
    found = references_own(text, Path("spaced.py"), record.files)
    assert [(str(one.where), one.api, one.ran) for one in found] == [
        ("spaced.py:5", "spaced_parts.blocks", True)
    ]
    assert references_own("from timm.layers import Mlp\n", Path("a.py"), record.files) == []


class Rearrange(torch.nn.Identity):
    """Stands for the layer of einops."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1)


def test_layers_of_einops_are_paddles(tmp_path, monkeypatch):
    Rearrange.__module__ = "einops.layers.torch"
    for name in ("einops", "einops.layers", "einops.layers.torch"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["einops.layers.torch"].Rearrange = Rearrange
    files, _ = written(recorded(tmp_path, {"turned": EINOPS})[0])
    assert "from einops.layers.paddle import Rearrange\n" in files["turned.py"]
    assert "torch" not in files["turned.py"]


LENT = """from elsewhere import empty
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(
            empty(3, 1,
                  1, requires_grad=False).fill_(2)
        )

    def forward(self, x):
        return x * self.gain
"""


def test_what_another_package_has_of_torch_is_paddles(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "elsewhere", ModuleType("elsewhere"))
    sys.modules["elsewhere"].empty = torch.empty
    record, net = recorded(tmp_path, {"lent": LENT})
    files, _ = written(record)
    assert "elsewhere" not in files["lent.py"]
    assert "paddle.empty(" in files["lent.py"]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


MANY = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(8, 4))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.conv = nn.Conv2d(3, 4, 3)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        nn.init.constant_(self.conv.bias, 1.0)
        nn.init.xavier_uniform_(self.table)
        nn.init.dirac_(self.conv.weight)

    def forward(self, x):
        return self.conv(x) + self.table.sum()
"""


def test_an_import_of_many_helpers_has_a_line_for_each(tmp_path):
    record, _ = recorded(tmp_path, {"many": f"import torch\nfrom torch import nn\n{MANY}"})
    text = written(record)[0]["many.py"]
    assert "from .torch_calls import (\n    Parameter,\n    constant_,\n    dirac_,\n" in text
    assert max(map(len, text.splitlines())) <= 88
