"""Modules that are read of their package by name: in the port, too, somebody imports them."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x)
"""
PACKAGES = {
    "a dotted import, of packages without a file": {
        "far": "import yard.nets.plain\n\n\ndef Net():\n    return yard.nets.plain.Net()\n",
        "yard.nets.plain": HEAD + NET,
    },
    "a package whose file binds it by what the net does not need": {
        "near": "import shed\n\n\ndef Net():\n    return shed.nets.plain.Net()\n",
        "shed.__init__": "from .build import build_net\n",
        "shed.build": "from . import nets\n\n\ndef build_net(args):\n    return nets.Net()\n",
        "shed.nets.__init__": "from .plain import *\n",
        "shed.nets.plain": HEAD + NET,
    },
}
LINES = {  # of the packages' files in the port
    "far": {
        "yard/__init__.py": "from . import nets\n",
        "yard/nets/__init__.py": "from . import plain\n",
    },
    "near": {
        "shed/__init__.py": "from . import nets\n",
        "shed/nets/__init__.py": "from .plain import *\n",
    },
}


@pytest.mark.parametrize("texts", PACKAGES.values(), ids=PACKAGES)
def test_a_module_read_of_its_package_is_imported(tmp_path, texts):
    record, net = recorded(tmp_path, texts)
    files, _ = written(record)
    lines = LINES[next(iter(texts))]
    assert {path: files[path] for path in lines} == lines
    np.testing.assert_allclose(*both_outputs(tmp_path, record, net), rtol=1e-6, atol=1e-6)
