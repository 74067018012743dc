"""Running statistics of one channel: in one run, random signs may happen not to move them."""

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
from paddle_impl.layers import BatchNorm2D

COUNT = 60


class Reference(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = tnn.ModuleList(tnn.Conv2d(3, 1, 1, bias=False) for _ in range(COUNT))
        self.norms = tnn.ModuleList(tnn.BatchNorm2d(1) for _ in range(COUNT))

    def forward(self, x: Any) -> Any:
        return sum(n(c(x)) for c, n in zip(self.convs, self.norms, strict=True))


class Port(pnn.Layer):
    def __init__(self, last: Any = None) -> None:
        super().__init__()
        self.convs = pnn.LayerList([pnn.Conv2D(3, 1, 1, bias_attr=False) for _ in range(COUNT)])
        norms = [BatchNorm2D(1) for _ in range(COUNT - 1)]
        self.norms = pnn.LayerList([*norms, last or BatchNorm2D(1)])

    def forward(self, x: Any) -> Any:
        return sum(n(c(x)) for c, n in zip(self.convs, self.norms, strict=True))


class Drifting(BatchNorm2D):
    """Its variance is a little off, as by another factor for the unbiased one."""

    def forward(self, x: Any) -> Any:
        out = super().forward(x)
        self._variance.set_value(self._variance * (1 + 1e-10))
        return out


def _pair(seed: int, last: Any = None) -> tuple[Any, Any, np.ndarray]:
    """Return two nets and an image whose channels nearly cancel: so do the means."""
    torch.manual_seed(seed)
    nets = Reference(), Port(last)
    fill_port(LiveReference(nets[0]), nets[1])
    image = np.random.default_rng(seed).standard_normal((2, 3, 4, 4))
    return *nets, image - image.mean((0, 2, 3), keepdims=True) * (1 - 1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_means_that_cancel_are_no_alarm(seed: int) -> None:
    theirs, ours, image = _pair(seed)
    for report in (
        align_forward(theirs, ours, [image], train=True),
        align_backward(theirs, ours, [image]),
    ):
        assert report.exit_code == 0, report.verdict
    floors = [call.floor for call in align_forward(theirs, ours, [image], train=True).calls]
    assert max(floors) < 1e-7


@pytest.mark.parametrize(
    ("last", "where"),
    [
        (lambda: BatchNorm2D(1, momentum=0.9 - 1e-7), {"buffer:_mean", "buffer:_variance"}),
        (lambda: Drifting(1), {"buffer:_variance"}),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_another_momentum_or_factor_is_found(seed: int, last: Any, where: set[str]) -> None:
    theirs, ours, image = _pair(seed, last())
    report = align_forward(theirs, ours, [image], train=True)
    assert report.exit_code == 1
    found = {(one.layer, one.where) for one in report.divergences}
    assert found
    assert found <= {(f"norms.{COUNT - 1}", place) for place in where}
