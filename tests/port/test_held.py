"""Writes into a tensor that a list, a dict or an attribute holds: its reader sees them."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

CONV = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU(inplace=True)
"""
HELD = {
    "a list of the outputs so far": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True))

    def forward(self, x):
        found = []
        for layer in self.features:
            x = layer(x)
            found.append(x)
        return found[0]
""",
    "a dict, and a function that writes": f"""{CONV}
    def forward(self, x):
        found = dict()
        found["a"] = self.conv(x)
        y = F.relu(found["a"], inplace=True)
        return y + found["a"]
""",
    "an attribute that a hook sets": f"""{CONV}
        self.both = nn.Sequential(self.conv, self.relu)
        self.conv.register_forward_hook(self.keep)

    def keep(self, module, args, output):
        self.kept = [output]

    def forward(self, x):
        y = self.both(x)
        return y + self.kept[0]
""",
    "+= of what is in a list": f"""{CONV}
    def forward(self, x):
        y = self.conv(x)
        skips = [y]
        y += 1
        return y * skips.pop()
""",
}


@pytest.mark.parametrize("net", HELD.values(), ids=HELD)
def test_what_is_held_gets_the_write(tmp_path, net):
    record, reference = recorded(tmp_path, {"held": HEAD + net})
    outputs = both_outputs(tmp_path, record, reference)
    np.testing.assert_allclose(*outputs, rtol=1e-6, atol=1e-6)


READ_NO_MORE = f"""{CONV}
    def forward(self, x):
        ways = [self.conv(x), self.conv(x)]
        ways[0] = self.relu(ways[0])
        first = ways[1]
        return self.relu(first) + 1
"""


def test_what_nobody_reads_there_again_stays_plain(tmp_path):
    record, _ = recorded(tmp_path, {"held": HEAD + READ_NO_MORE})
    assert "self.relu = nn.ReLU()" in written(record)[0]["held.py"]
