"""Of a library comes what the net uses: no rows of registries, classes, blocks beside it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from tests.port.trial import both_outputs, build_port, recorded, written

HEAD = "import torch\nfrom torch import nn\n\n"
NETS = {
    "asks_zoo": "import zoo\n\n\ndef build():\n    return zoo.make('small')\n",
    "site-packages.zoo.__init__": """from .small import small_nets
from .large import large_nets
from .helpers import told

nets = {}
nets.update(small_nets)
nets.update(large_nets)
sizes = {}
sizes.update({"small": 4})


def make(name, weights=None):
    import zoo.helpers

    if weights is not None:
        told(weights)
        name = name.lower()
    elif name == "tiny":
        told("tiny")
    else:
        name = str(name)
    row = nets[name]
    return row["net"](row["block"], sizes[name])
""",
    "site-packages.zoo.helpers": "def told(what):\n    print(what)\n",
    "site-packages.zoo.small": f"""import math
import warnings
{HEAD}
class Plain(nn.Module):
    widening = 1

    def __init__(self, width):
        super().__init__()
        if width > 9:
            warnings.warn("wide")
        self.conv = nn.Conv2d(3, width * self.widening, 1)

    def forward(self, x):
        return self.conv(x)

    def reset(self):
        \"\"\"Begin again.\"\"\"
        scale = math.sqrt(2)
        _draw(self.conv, scale)


def _draw(layer, scale):
    nn.init.normal_(layer.weight, std=scale)


class Deep(Plain):
    widening: int = 4

    def __init__(self, width):
        super().__init__(width)
        self.more = nn.Conv2d(width, width, 1)


class Holder(nn.Module):
    def __init__(self, block, width):
        super().__init__()
        self.block = block(width)
        if isinstance(self.block, Deep):
            self.block.reset()

    def forward(self, x):
        return self.block(x)


small_nets = {{
    "small": {{"net": Holder, "block": Plain}},
    "deep": {{"net": Holder, "block": Deep}},
}}
""",
    "site-packages.zoo.large": f"""from functools import partial
{HEAD}
class Norm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x)


class Large(nn.Module):
    def __init__(self, block, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)


large_nets = {{"large": {{"net": Large, "block": partial(Norm, eps=1e-6)}}}}
""",
}


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    import sys

    folder = tmp_path_factory.mktemp("zoo")
    sys.path.insert(0, str(folder / "site-packages"))
    try:
        record, net = recorded(folder, NETS, "build")
    finally:
        sys.path.remove(str(folder / "site-packages"))
    return folder, record, net, written(record)[0]


def test_the_port_computes_what_the_reference_computes(port):
    folder, record, net, _ = port
    theirs, ours = both_outputs(folder, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_rows_of_a_registry_that_nothing_used_are_left_out_with_their_files(port):
    *_, texts = port
    zoo = texts["ported_zoo/__init__.py"]
    assert "nets.update(small_nets)" in zoo
    assert "large" not in zoo
    assert 'sizes.update({"small": 4})' in zoo, "of numbers alone nothing is known"
    assert "ported_zoo/large.py" not in texts


def test_a_class_that_nobody_made_is_a_shell_where_something_names_it(port):
    *_, texts = port
    shell = """class Deep(nn.Layer):
    widening: int = 4

    def __init__(self, *args, **kwargs):
        not_here("small.py:"""
    assert shell in texts["ported_zoo/small.py"]
    assert "isinstance(self.block, Deep)" in texts["ported_zoo/small.py"]


def test_a_block_that_did_not_run_is_one_line_where_it_needs_what_is_not_here(port):
    *_, texts = port
    block = """    if weights is not None:
        not_here("__init__.py:16")
    elif name == "tiny":
        not_here("__init__.py:19")
    else:
        name = str(name)
"""
    assert block in texts["ported_zoo/__init__.py"]
    assert "told" not in texts["ported_zoo/__init__.py"]
    assert "print" not in str(texts)


def test_a_block_that_needs_pythons_library_alone_stays(port):
    *_, texts = port
    assert 'warnings.warn("wide")' in texts["ported_zoo/small.py"]
    assert "import warnings" in texts["ported_zoo/small.py"]
    assert "import math" not in texts["ported_zoo/small.py"]


def test_what_is_not_here_raises_with_its_place(port, tmp_path):
    from port.folder import write_folder
    from port.port import write_port

    _folder, record, *_ = port
    place = tmp_path / "zoo_port"
    write_folder(place, write_port(record), {"spec": "here", "arguments": {}})
    net = build_port(place)
    with pytest.raises(NotImplementedError, match=r"small\.py:\d+: was left out of this port"):
        net.block.reset()
