"""A dict on one side and a list on the other are paired in the dict's own order."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, align_training, force_trace, record_trace
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


@dataclass
class Outputs:
    out: Any
    aux: Any = None
    extra: Any = None


Named = namedtuple("Named", "out aux")


class Model(OrderedDict):
    """A dict whose entries are attributes and positions too, as transformers have it."""

    def __getattr__(self, name):
        return self[name]

    def __getitem__(self, key):
        return dict(self.items())[key] if isinstance(key, str) else tuple(self.values())[key]


# How a layer returns (out, aux), and how code takes `out` from that.
WAYS = {
    "list": (lambda out, aux: [out, aux], lambda o: o[0]),
    "dict": (lambda out, aux: {"out": out, "aux": aux}, lambda o: o["out"]),
    "named": (lambda out, aux: Named(out, aux), lambda o: o.out),
    "dataclass": (lambda out, aux: Outputs(out, aux), lambda o: o.out),
    "model": (lambda out, aux: Model(out=out, aux=aux), lambda o: o.out),
    "nothing": (lambda out, aux: (out, None, aux), lambda o: o[0]),
    "lists": (lambda out, aux: [[out], [aux]], lambda o: o[0][0]),
    "dict of lists": (lambda out, aux: {"out": [out], "aux": (aux, None)}, lambda o: o["out"][0]),
    "hidden": (lambda out, aux: Model(out=out, aux=(aux,)), lambda o: o.out),
}
PAIRS = (
    *(("dict", "dataclass"), ("model", "list"), ("model", "dict"), ("dataclass", "list")),
    *(("dataclass", "model"), ("named", "dict"), ("nothing", "list"), ("list", "nothing")),
    *(("dict", "dict of lists"), ("dict of lists", "lists"), ("hidden", "list")),
    *(("hidden", "dataclass"), ("lists", "dict of lists")),
)


class Body(tnn.Module):
    def __init__(self, make):
        super().__init__()
        self.first, self.last, self.make = tnn.Linear(3, 4), tnn.Linear(4, 4), make

    def forward(self, x):
        aux = self.first(x)
        return self.make(self.last(torch.relu(aux)), aux)


class Whole(tnn.Module):
    def __init__(self, make, take):
        super().__init__()
        self.body, self.head, self.take = Body(make), tnn.Linear(4, 2), take

    def forward(self, x):
        found = self.body(x)
        return self.head(self.take(found)), found


class BodyPort(pnn.Layer):
    def __init__(self, make):
        super().__init__()
        self.first, self.last, self.make = pnn.Linear(3, 4), pnn.Linear(4, 4), make

    def forward(self, x):
        aux = self.first(x)
        return self.make(self.last(pnn.functional.relu(aux)), aux)


class WholePort(pnn.Layer):
    def __init__(self, make, take):
        super().__init__()
        self.body, self.head, self.take = BodyPort(make), pnn.Linear(4, 2), take

    def forward(self, x):
        found = self.body(x)
        return self.head(self.take(found)), found


def error(outputs, label):
    return ((outputs[0] - label) ** 2).mean()


def each_rung(theirs, ours):
    x = np.random.default_rng(0).standard_normal((5, 3))
    fill_port(LiveReference(theirs), ours)
    yield align_forward(theirs, ours, [x])
    yield align_backward(theirs, ours, [x])
    yield align_training(
        theirs,
        ours,
        [[x, x[:, :2]]],
        error,
        error,
        lambda held: torch.optim.SGD(held, 0.1),
        lambda held: paddle.optimizer.SGD(0.1, parameters=held),
    )


@pytest.mark.parametrize(("reference", "port"), PAIRS)
def test_outputs_in_other_containers_are_aligned(reference, port):
    for report in each_rung(Whole(*WAYS[reference]), WholePort(*WAYS[port])):
        assert report.exit_code == 0, report.verdict


@pytest.mark.parametrize("reference", ["model", "dataclass", "named", "dict of lists"])
def test_outputs_exchanged_in_other_containers_are_found(reference):
    exchanged = (lambda out, aux: [aux, out], lambda o: o[1])
    forward, backward, _ = each_rung(Whole(*WAYS[reference]), WholePort(*exchanged))
    for report in (forward, backward):
        assert report.exit_code == 1
        assert {"body", ""} >= {divergence.layer for divergence in report.divergences}


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
    "of another depth": (["t", ("t",)], ["0", "1"], [0, 1]),
    "the dict's own order at any depth": ({"b": ["t"], "a": ("t", None)}, ["0", "1"], [1, 0]),
    "a dict and a dataclass of its names": ({"aux": "t", "out": "t"}, Outputs("1", "0"), [1, 0]),
    "a dataclass and a list": (Outputs("t", "t"), ["0", "1"], [0, 1]),
    "a named tuple and a list": (Named("t", "t"), ["0", "1"], None),
    "a list and a named tuple": (["t", "t"], Named("0", "1"), [0, 1]),
    "equal trees": (["t", ("t", None)], ["0", ("1", None)], None),
}


@pytest.mark.parametrize("case", ORDERS)
def test_which_tensor_is_which(case):
    template, tree, expected = ORDERS[case]
    found = order_like(template, tree, is_text, is_text)
    assert found == expected
    assert picked(None, ["x"]) == ["x"]
