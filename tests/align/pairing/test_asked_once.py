"""One report asks two nets once who they are, and compares at rest no tensor twice."""

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward
from align.nets import layers_paddle
from align.pairing import attributes_paddle, attributes_torch, reference_torch, static
from align.pairing.fill import fill_port
from align.pairing.pair_nets import pair_nets
from align.pairing.reference_torch import LiveReference
from align.trial.setup import prepared
from paddle_impl.layers import BatchNorm2D

IMAGE = np.random.default_rng(0).standard_normal((2, 3, 5, 4))


def pair():
    """Return two small nets of one weight; the last layer runs in neither."""
    torch.manual_seed(0)
    reference = tnn.Sequential(tnn.Conv2d(3, 4, 1), tnn.BatchNorm2d(4), tnn.ReLU())
    port = pnn.Sequential(pnn.Conv2D(3, 4, 1), BatchNorm2D(4), pnn.ReLU())
    reference.idle, port.idle = tnn.Linear(2, 2), pnn.Linear(2, 2)
    reference.forward = lambda x: reference[2](reference[1](reference[0](x)))
    port.forward = lambda x: port[2](port[1](port[0](x)))
    fill_port(LiveReference(reference), port)
    return reference, port


def counted(monkeypatch, home, name, of):
    """Count the calls of `home.name` by what `of` says of their arguments."""
    counts = Counter()
    original = getattr(home, name)

    def counting(*args, **kwargs):
        counts[of(*args)] += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(home, name, counting)
    return counts


@pytest.mark.parametrize("healthy", [True, False], ids=["healthy", "wrong"])
@pytest.mark.parametrize("align", [align_forward, align_backward])
def test_one_report_asks_two_nets_once(monkeypatch, align, healthy):
    reference, port = pair()
    if not healthy:
        port[0].weight.set_value(port[0].weight * 1.5)
        port.idle.bias.set_value(port.idle.bias + 1.0)
    made = counted(monkeypatch, LiveReference, "__init__", lambda *_: "made")
    ports = counted(monkeypatch, layers_paddle, "layers_by_path", lambda net: "layers")
    modules = counted(monkeypatch, reference_torch, "module_paths", lambda net: "modules")
    whole = counted(monkeypatch, static.AtRest, "compare_weights", lambda _: "weights")
    tensors = counted(
        monkeypatch, static, "_compare_tensor", lambda _, port, into: (into.layer, into.where)
    )
    read = [
        counted(monkeypatch, side, "attributes", id)
        for side in (attributes_torch, attributes_paddle)
    ]
    report = align(reference, port, [IMAGE])
    assert report.aligned == healthy
    assert (made, ports, modules) == ({"made": 1}, {"layers": 1}, {"modules": 1})
    assert set(whole.values()) <= {1}
    assert set(tensors.values()) <= {1}
    assert len(tensors) == (8 if not healthy else 2 if align is align_forward else 0)
    assert all(set(counts.values()) == {1} and len(counts) == 5 for counts in read)


def test_what_is_at_rest_is_not_compared_while_nets_are_cast():
    sides = pair_nets(LiveReference(pair()[0]), pair()[1])
    before = [call.verdict for call in sides.at_rest.compare_weights()]
    with prepared(sides, dtype="float64", train=True), pytest.raises(AssertionError):
        _ = sides.at_rest
    assert [call.verdict for call in sides.at_rest.compare_weights()] == before


def test_what_a_report_writes_into_a_comparison_stays_there():
    reference, port = pair()
    port.idle.bias.set_value(port.idle.bias + 1.0)
    at_rest = pair_nets(LiveReference(reference), port).at_rest

    def wrong():
        return [c for c in at_rest.compare_layers({"idle"}) if c.where == "weight:bias"]

    (first,) = wrong()
    first.cause, first.layer = "something else", "elsewhere"
    (second,) = wrong()
    assert (second.layer, second.cause) != (first.layer, first.cause)
