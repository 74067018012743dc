"""Kernels that are off inside a layer which several others hold: each call has its floor."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

IMAGE = np.random.default_rng(0).standard_normal((2, 3, 12, 12))
THEIRS = SimpleNamespace(
    Base=tnn.Module,
    Conv=tnn.Conv2d,
    Norm=tnn.BatchNorm2d,
    Sequential=tnn.Sequential,
    functional=tnn.functional,
    SELU=tnn.SELU,
    Hardsigmoid=tnn.Hardsigmoid,
)
OURS = SimpleNamespace(
    Base=pnn.Layer,
    Conv=pnn.Conv2D,
    Norm=pnn.BatchNorm2D,
    Sequential=pnn.Sequential,
    functional=pnn.functional,
    SELU=pnn.SELU,
    Hardsigmoid=pnn.Hardsigmoid,
)


def _net(nn: Any, kind: str, factor: float) -> Any:
    """Return a net of blocks in containers which share one layer of `kind`, made outside."""

    class Code(nn.Base):  # type: ignore[misc]
        """The kernel in a layer's own code, behind weights that are shared, too."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv(4, 4, 1)

        def forward(self, x: Any) -> Any:
            return nn.functional.selu(self.conv(x))

    class Block(nn.Base):  # type: ignore[misc]
        def __init__(self, channels: int, gate: Any, factor: float = 1.0) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv(channels, 4, 3, padding=1), nn.Norm(4)
            self.gate, self.factor = gate, factor

        def forward(self, x: Any) -> Any:
            x = self.gate(self.norm(self.conv(x)))
            return self.gate(x) * self.factor

    class Net(nn.Base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            made = {
                "SELU": nn.SELU,
                "Hardsigmoid": nn.Hardsigmoid,
                "inplace": lambda: tnn.SELU(inplace=True) if nn is THEIRS else nn.SELU(),
                "container": lambda: nn.Sequential(nn.Conv(4, 4, 1), nn.SELU()),
                "code": Code,
            }
            gate = made[kind]()
            self.low = nn.Sequential(Block(3, gate), Block(4, gate))
            self.high = nn.Sequential(Block(4, gate, factor), Block(4, gate))

        def forward(self, x: Any) -> Any:
            return self.high(self.low(x))

    return Net()


def _pair(kind: str, factor: float = 1.0) -> tuple[Any, Any]:
    nets = _net(THEIRS, kind, 1.0), _net(OURS, kind, factor)
    fill_port(LiveReference(nets[0]), nets[1])
    return nets


@pytest.mark.parametrize("kind", ["SELU", "Hardsigmoid", "inplace", "container", "code"])
def test_every_call_below_every_block_has_the_floor_of_its_kernel(kind: str) -> None:
    for report in (
        align_forward(*_pair(kind), [IMAGE]),
        align_forward(*_pair(kind), [IMAGE], train=True),
        align_backward(*_pair(kind), [IMAGE]),
    ):
        assert report.exit_code == 0, report.verdict
        assert all(call.floor < 1e-4 for call in report.calls if call.where == "output:0")


def test_a_block_that_is_off_by_more_is_found() -> None:
    report = align_forward(*_pair("SELU", factor=1.00001), [IMAGE])
    assert report.exit_code == 1
    assert {one.layer for one in report.divergences} == {"high.0"}
