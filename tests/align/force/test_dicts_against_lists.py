"""A dict on one side and a list on the other are paired in the dict's own order."""

from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, force_trace, record_trace
from align.arrays.orders import order_like, picked
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference


class Backbone(tnn.Module):
    def __init__(self):
        super().__init__()
        self.high, self.low = tnn.Conv2d(3, 4, 3, padding=1), tnn.Conv2d(4, 4, 1)

    def forward(self, x):
        high = self.high(x)
        return OrderedDict(out=self.low(high), aux=high)


class Decoder(tnn.Module):
    def __init__(self):
        super().__init__()
        self.head = tnn.Conv2d(4, 2, 1)

    def forward(self, features, scale):
        return self.head(features["out"]) * scale + features["aux"][:, :2]


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.decoder = Backbone(), Decoder()

    def forward(self, x):
        features = self.backbone(x)
        return {"out": self.decoder(features, 2.0), "aux": features["aux"], "none": None}


class BackbonePort(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.high, self.low = pnn.Conv2D(3, 4, 3, padding=1), pnn.Conv2D(4, 4, 1)

    def forward(self, x):
        high = self.high(x)
        return [self.low(high), high]


class DecoderPort(pnn.Layer):
    def __init__(self, picks=(0, 1)):
        super().__init__()
        self.head, self.picks = pnn.Conv2D(4, 2, 1), picks

    def forward(self, features, scale):
        out, aux = self.picks
        return self.head(features[out]) * scale + features[aux][:, :2]


class Port(pnn.Layer):
    def __init__(self, picks=(0, 1), exchanged=False):
        super().__init__()
        self.backbone, self.decoder = BackbonePort(), DecoderPort(picks)
        self.exchanged = exchanged

    def forward(self, x):
        features = self.backbone(x)
        found = [self.decoder(features, 2.0), features[1]]
        return found[::-1] if self.exchanged else found


X = [np.random.default_rng(0).standard_normal((2, 3, 6, 6))]


def reports(folder, **options):
    theirs, ours = Reference(), Port(**options)
    fill_port(LiveReference(theirs), ours)
    record_trace(theirs, X, folder / "trace", train=True, backward=True)
    yield align_forward(theirs, ours, X)
    yield align_backward(theirs, ours, X)
    yield force_trace(ours, folder / "trace")


def test_a_port_that_returns_lists_is_aligned(tmp_path):
    for report in reports(tmp_path):
        assert report.exit_code == 0, report.verdict


def test_outputs_exchanged_in_the_list_are_found_at_the_root(tmp_path):
    for report in reports(tmp_path, exchanged=True):
        assert report.exit_code == 1
        assert {divergence.layer for divergence in report.divergences} == {""}


def test_the_wrong_entry_of_the_list_is_found_where_it_is_taken(tmp_path):
    for report in reports(tmp_path, picks=(1, 0)):
        assert report.exit_code == 1
        assert {divergence.layer for divergence in report.divergences} == {"decoder"}


def is_text(leaf):
    return isinstance(leaf, str)


ORDERS = {
    "dict and list": ({"b": "t", "a": "t"}, ["0", "1"], [1, 0]),
    "list and dict": (["t", "t"], {"b": "0", "a": "1"}, [1, 0]),
    "same keys": ({"b": "t", "a": "t"}, {"a": "0", "b": "1"}, None),
    "other keys": ({"out": "t", "aux": "t"}, {"logits": "0", "extra": "1"}, [0, 1]),
    "nested": ([{"b": "t", "a": ["t", "t"]}], [["0", ["1", "2"]]], [1, 2, 0]),
    "None left out": ({"b": "t", "a": None}, ["0"], [0]),
    "another number": ({"b": "t", "a": "t"}, ["0"], None),
    "no dict": (["t", ("t",)], ["0", "1"], None),
}


@pytest.mark.parametrize("case", ORDERS)
def test_which_tensor_is_which(case):
    template, tree, expected = ORDERS[case]
    found = order_like(template, tree, is_text, is_text)
    assert found == expected
    assert picked(None, ["x"]) == ["x"]
