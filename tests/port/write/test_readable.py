"""What a port reads like: nothing stands in it that a user of Paddle would not have written."""

import pytest

pytest.importorskip("torch")

from tests.port.test_traps import HEAD
from tests.port.trial import recorded, written

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
}


@pytest.mark.parametrize("name", LINES)
def test_a_port_reads_as_written_by_hand(tmp_path, name):
    text, expected = LINES[name]
    record, _ = recorded(tmp_path, {"plain": HEAD + text})
    files, port = written(record)
    assert port.gaps == []
    assert expected.strip("\n") in files["plain.py"]
