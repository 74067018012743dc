"""Paddle's attention returns a map for each head, torch's their average: both are one net."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, force_trace, record_trace
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference


class Reference(tnn.Module):
    def __init__(self, batch_first=True, **options):
        super().__init__()
        self.attn = tnn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.options = options

    def forward(self, x, pad):
        first = self.attn.batch_first
        x = x if first else x.transpose(0, 1)
        out, maps = self.attn(x, x, x, key_padding_mask=pad, **self.options)
        out = out if first else out.transpose(0, 1)
        return out if maps is None else (out, maps * 2.0)


def average(maps):
    return maps.mean(1) * 2.0


class Port(pnn.Layer):
    def __init__(self, of_maps=average, keeps=True):
        super().__init__()
        self.attn = pnn.MultiHeadAttention(8, 2, need_weights=True)
        self.of_maps, self.keeps = of_maps, keeps

    def forward(self, x, pad):
        hidden = (~pad if self.keeps else pad).unsqueeze([1, 2])
        out, maps = self.attn(x, x, x, attn_mask=hidden)
        return out if self.of_maps is None else (out, self.of_maps(maps))


PAD = np.array([[False] * 3 + [True] * 2, [False] * 5])
INPUTS = [np.random.default_rng(0).standard_normal((2, 5, 8)), PAD]
PAIRS = {
    "averaged": ({}, {}),
    "averaged, length first": ({"batch_first": False}, {}),
    "a map for each head": (
        {"average_attn_weights": False},
        {"of_maps": lambda maps: maps * 2.0},
    ),
    "only the port asks for maps": ({"need_weights": False}, {"of_maps": None}),
}
FAULTS = {
    "the first head alone": ({"of_maps": lambda maps: maps[:, 0] * 2.0}, ""),
    "the sum of the heads": ({"of_maps": lambda maps: maps.sum(1) * 2.0}, ""),
    "the mask the other way": ({"keeps": False}, ""),
}


def reports(reference, port, folder):
    theirs, ours = Reference(**reference), Port(**port)
    fill_port(LiveReference(theirs), ours)
    record_trace(theirs, INPUTS, folder / "trace", train=True, backward=True)
    yield align_forward(theirs, ours, INPUTS)
    yield align_backward(theirs, ours, INPUTS)
    yield force_trace(ours, folder / "trace")


@pytest.mark.parametrize("case", PAIRS)
def test_healthy_attention_that_returns_its_maps_is_aligned(case, tmp_path):
    for report in reports(*PAIRS[case], tmp_path):
        assert report.exit_code == 0, report.verdict


@pytest.mark.parametrize("case", FAULTS)
def test_maps_of_something_else_are_found(case, tmp_path):
    options, layer = FAULTS[case]
    for report in reports({}, options, tmp_path):
        assert report.exit_code == 1
        assert {divergence.layer for divergence in report.divergences} == {layer}
