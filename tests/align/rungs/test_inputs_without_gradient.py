"""A reference that takes no input that asks for a gradient: all other gradients are judged."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
NOTE = "gradients of the inputs were not compared"


class Padded(torch.nn.Module):
    """Copies each image into a row of zeros, as DETR batches images."""

    def __init__(self, broken=False):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, 1)
        self.broken = broken

    def forward(self, images):
        rows = torch.zeros(2, 3, 5, 5, dtype=images.dtype)
        for image, row in zip(images, rows, strict=True):
            row[:, :4, :4].copy_(image)
        if self.broken:
            raise RuntimeError("it never runs")
        return self.conv(rows) * self.conv.bias.mean()


class PaddedPort(paddle.nn.Layer):
    def __init__(self, share=1.0):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 2, 1)
        self.share = share

    def forward(self, images):
        rows = paddle.nn.functional.pad(images, [0, 1, 0, 1])
        mean = self.conv.bias.mean()
        return self.conv(rows) * (self.share * mean + (1 - self.share) * mean.detach())


def aligned(reference, port):
    fill_port(LiveReference(reference), port)
    return align_backward(reference, port, [IMAGES])


def test_the_other_gradients_are_judged_and_it_is_told():
    report = aligned(Padded(), PaddedPort())
    assert report.exit_code == 0
    assert any(note.startswith(NOTE) and "Padded" not in note for note in report.notes)
    judged = {(call.layer, call.where) for call in report.calls}
    assert {("conv", "grad:weight"), ("", "grad_output:0")} & judged


def test_a_fault_beside_it_is_found():
    report = aligned(Padded(), PaddedPort(share=0.5))
    assert report.exit_code == 1


def test_what_raises_on_any_input_is_raised():
    with pytest.raises(RuntimeError, match="modified inplace"):
        aligned(Padded(broken=True), PaddedPort())


def test_inputs_that_can_are_asked():
    report = align_backward(torch.nn.Sequential(Same()), paddle.nn.Sequential(SamePort()), [IMAGES])
    assert not any(note.startswith(NOTE) for note in report.notes)
    assert any(call.where == "grad_input:0" for call in report.calls)


class Same(torch.nn.Module):
    def forward(self, x):
        return x.sin()


class SamePort(paddle.nn.Layer):
    def forward(self, x):
        return x.sin()
