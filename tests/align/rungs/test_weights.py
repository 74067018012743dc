"""The weights rung: tensors exactly, static attributes in torch's meaning."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_weights


def found(report):
    return {(d.layer, d.where) for d in report.divergences}


def test_converted_stdc_is_aligned(stdc1_pair):
    report = align_weights(*stdc1_pair)
    assert report.exit_code == 0, report.verdict
    assert sum(call.where.startswith(("weight", "buffer")) for call in report.calls) == 240
    assert report.verdict == f"aligned: {len(report.calls)} tensors, all exactly equal"


ATTRIBUTES = {
    ("cp.arm16.bn_atten", "_epsilon", 2e-5): "epsilon",
    ("cp.backbone.features.4.avd_layer.1", "_momentum", 0.1): "momentum",
    ("cp.backbone.features.4.skip", "exclusive", True): "count_include_pad",
    ("cp.backbone.features.0.conv", "_stride", (1, 1)): "stride",
    ("cp.backbone.features.4.avd_layer.0", "_groups", 1): "groups",
    ("cp.backbone.dropout", "p", 0.5): "rate",
    ("ffm.relu", "training", False): "training",
}


@pytest.mark.parametrize("change", list(ATTRIBUTES), ids=lambda change: change[1])
def test_attribute_that_differs_is_named(stdc1_pair, change):
    torch_net, paddle_net = stdc1_pair
    torch_net.train()
    paddle_net.train()
    path, name, value = change
    layer = dict(paddle_net.named_sublayers())[path]
    before = getattr(layer, name)
    setattr(layer, name, value)
    try:
        report = align_weights(torch_net, paddle_net)
    finally:
        setattr(layer, name, before)
    assert found(report) == {(path, f"attribute:{ATTRIBUTES[change]}")}


@pytest.mark.parametrize(
    ("reference", "port", "wrong", "where"),
    [
        (tnn.ReflectionPad2d((1, 2, 0, 1)), {"padding": [1, 2, 0, 1]}, "constant", "padding_mode"),
        (tnn.ZeroPad2d(1), {"padding": 1}, "reflect", "padding_mode"),
        (tnn.ConstantPad2d((1, 0, 2, 0), 0.0), {"padding": [0, 1, 2, 0]}, "constant", "sides"),
    ],
    ids=["reflection", "zeros", "sides"],
)
def test_padding_layers_are_compared(reference, port, wrong, where):
    net, ours = tnn.Sequential(reference), pnn.Sequential(pnn.Pad2D(mode=wrong, **port))
    report = align_weights(net, ours)
    assert found(report) == {("0", f"attribute:{where}")}


def test_heads_of_stock_attention_are_compared():
    net, ours = tnn.MultiheadAttention(8, 4), pnn.MultiHeadAttention(8, 2)
    assert ("", "attribute:heads") in found(align_weights(net, ours))


def test_one_value_of_a_weight_that_no_forward_uses_is_found(stdc1_pair):
    torch_net, paddle_net = stdc1_pair
    weight = paddle_net.cp.backbone.fc.weight
    before = weight.numpy().copy()
    changed = before.copy()
    changed[3, 5] = np.nextafter(changed[3, 5], np.float32(1))
    weight.set_value(changed)
    report = align_weights(torch_net, paddle_net)
    weight.set_value(before)
    assert found(report) == {("cp.backbone.fc", "weight:weight")}
    assert report.divergences[0].worst_index == (3, 5)


def test_square_linear_that_was_not_transposed_is_found():
    theirs, ours = tnn.Linear(4, 4), pnn.Linear(4, 4)
    weight, bias = theirs.weight.detach().numpy(), theirs.bias.detach().numpy()
    ours.set_state_dict({"weight": weight, "bias": bias})
    assert found(align_weights(theirs, ours)) == {("", "weight:weight")}
    ours.set_state_dict({"weight": weight.T, "bias": bias})
    assert align_weights(theirs, ours).aligned


def test_layers_in_a_plain_list_are_reported_as_registered_nowhere():
    class Reference(tnn.Module):
        def __init__(self):
            super().__init__()
            self.layers = tnn.ModuleList([tnn.Linear(2, 2)])

    class Port(pnn.Layer):
        def __init__(self):
            super().__init__()
            self.layers = [pnn.Linear(2, 2)]

    report = align_weights(Reference(), Port())
    assert report.exit_code == 1
    assert "layers.0.weight of the reference is registered nowhere" in report.divergences[0].cause


def test_extra_bias_of_the_port_is_found():
    theirs, ours = tnn.Linear(2, 3, bias=False), pnn.Linear(2, 3)
    ours.weight.set_value(theirs.weight.detach().numpy().T.copy())
    assert found(align_weights(theirs, ours)) == {("", "weight:bias"), ("", "attribute:bias")}


def test_nets_without_tensors_or_attributes_could_not_be_checked():
    class Reference(tnn.Module):
        pass

    class Port(pnn.Layer):
        pass

    assert align_weights(Reference(), Port()).exit_code == 2


def test_rules_lead_to_layers_of_other_names(tmp_path):
    from align import align_backward, align_forward

    class Reference(tnn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = tnn.Linear(4, 4)

        def forward(self, x):
            return self.encoder(x)

    class Port(pnn.Layer):
        def __init__(self):
            super().__init__()
            self.body = pnn.Linear(4, 4)

        def forward(self, x):
            return self.body(x)

    theirs, ours = Reference(), Port()
    weight, bias = theirs.encoder.weight.detach().numpy(), theirs.encoder.bias.detach().numpy()
    ours.body.set_state_dict({"weight": weight.T, "bias": bias})
    rules = tmp_path / "rules.yml"
    rules.write_text("renames:\n  - {match: '^encoder\\.', to: 'body.'}\n")
    assert align_weights(theirs, ours, rules=rules).aligned
    assert align_weights(theirs, ours).exit_code == 1
    for align in (align_forward, align_backward):
        report = align(theirs, ours, [np.ones((2, 4))], rules=rules)
        assert report.aligned
        assert "body" in {call.layer for call in report.calls}
