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
    record, _ = recorded(tmp_path, {"plain": HEAD + text})
    files, port = written(record)
    assert port.gaps == []
    assert expected.strip("\n") in files["plain.py"]
