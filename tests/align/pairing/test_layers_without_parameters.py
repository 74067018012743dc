"""Layers without parameters are compared by what they are: values may not tell ReLU from ReLU6."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_forward, align_weights


def pair(theirs, ours):
    """Return two nets that hold and call one layer each, behind a linear one of equal weights."""

    class Reference(tnn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.fc = theirs, tnn.Linear(4, 4)

        def forward(self, x):
            return self.act(self.fc(x))

    class Port(pnn.Layer):
        def __init__(self):
            super().__init__()
            self.act, self.fc = ours, pnn.Linear(4, 4)

        def forward(self, x):
            return self.act(self.fc(x))

    torch.manual_seed(0)
    reference, port = Reference().eval(), Port()
    port.eval()
    port.fc.set_state_dict(
        {
            "weight": reference.fc.weight.detach().numpy().T,
            "bias": reference.fc.bias.detach().numpy(),
        }
    )
    return reference, port


OTHER = {
    "ReLU for ReLU6": (tnn.ReLU6(), pnn.ReLU()),
    "LeakyReLU for ReLU": (tnn.ReLU(), pnn.LeakyReLU(0.01)),
    "ReLU for Hardtanh": (tnn.Hardtanh(0, 6), pnn.ReLU()),
    "Hardswish for SiLU": (tnn.SiLU(), pnn.Hardswish()),
    "Sigmoid for Hardsigmoid": (tnn.Hardsigmoid(), pnn.Sigmoid()),
    "Softmax for LogSoftmax": (tnn.LogSoftmax(1), pnn.Softmax(1)),
    "AvgPool for MaxPool": (tnn.MaxPool2d(2), pnn.AvgPool2D(2)),
    "AdaptiveMaxPool for AdaptiveAvgPool": (tnn.AdaptiveAvgPool2d(1), pnn.AdaptiveMaxPool2D(1)),
    "Identity for Dropout": (tnn.Dropout(0.1), pnn.Identity()),
    "AlphaDropout for Dropout": (tnn.Dropout(0.1), pnn.AlphaDropout(0.1)),
    "InstanceNorm for BatchNorm": (
        tnn.BatchNorm2d(4, affine=False, track_running_stats=False),
        pnn.InstanceNorm2D(4, weight_attr=False, bias_attr=False),
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_class_is_named_by_the_weights_rung(name):
    report = align_weights(*pair(*OTHER[name]))
    found = {(d.layer, d.where) for d in report.divergences}
    assert found == {("act", "attribute:class")}
    assert "the reference has" in report.divergences[0].cause


def test_settings_that_make_another_function_are_named():
    other = {
        "approximate": (tnn.GELU(approximate="tanh"), pnn.GELU()),
        "mode": (tnn.Upsample(scale_factor=2), pnn.Upsample(scale_factor=2, mode="bilinear")),
        "align_corners": (
            tnn.UpsamplingBilinear2d(scale_factor=2),
            pnn.Upsample(scale_factor=2, mode="bilinear"),
        ),
    }
    for attribute, nets in other.items():
        report = align_weights(*pair(*nets))
        assert {d.where for d in report.divergences} == {f"attribute:{attribute}"}


class TorchSwish(tnn.Sigmoid):
    def forward(self, x):
        return x * super().forward(x)


class OwnBatchNorm(tnn.BatchNorm2d):
    pass


SAME = {
    "other name": (tnn.SiLU(), pnn.Swish()),
    "range": (tnn.Hardtanh(0.0, 6.0), pnn.ReLU6()),
    "slope of nothing": (tnn.LeakyReLU(0.0), pnn.ReLU()),
    "axis": (tnn.Softmax2d(), pnn.Softmax(-3)),
    "upsampling": (
        tnn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        pnn.UpsamplingBilinear2D(scale_factor=2),
    ),
    "a rate of 0": (tnn.Dropout(0.0), pnn.Identity()),
    "pooling of one": (tnn.MaxPool2d(1, 2), pnn.AvgPool2D(1, 2)),
    "adaptive pooling of a line": (
        tnn.Sequential(tnn.Flatten(2), tnn.AdaptiveAvgPool1d(2)),
        pnn.Sequential(pnn.Flatten(2), pnn.AdaptiveAvgPool1D(2)),
    ),
    "global pooling": (tnn.AvgPool2d(4), pnn.AdaptiveAvgPool2D(1)),
    "padding of nothing": (
        tnn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=True),
        pnn.AvgPool2D(2, 2, ceil_mode=True, exclusive=True),
    ),
    "own forward": (TorchSwish(), pnn.Silu()),
    "own subclass": (OwnBatchNorm(4), pnn.SyncBatchNorm(4)),
    "groups of one": (tnn.GroupNorm(4, 4), pnn.InstanceNorm2D(4)),
    "no layer": (tnn.Sequential(), pnn.Identity()),
}


@pytest.mark.parametrize("name", SAME)
def test_what_computes_the_same_raises_no_alarm(name):
    report = align_weights(*pair(*SAME[name]))
    assert report.aligned, [str(d) for d in report.divergences]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_mean_without_padding_leaves_out_what_lies_beyond_the_input(axes):
    """So that nothing hangs on `exclusive` there, whatever `ceil_mode` is."""
    x = np.random.default_rng(0).standard_normal((1, 2) + (5,) * axes)
    theirs = getattr(tnn.functional, f"avg_pool{axes}d")
    ours = getattr(pnn.functional, f"avg_pool{axes}d")
    for counts in (True, False):
        expected = theirs(torch.tensor(x), 2, 2, 0, ceil_mode=True, count_include_pad=counts)
        found = ours(paddle.to_tensor(x), 2, 2, 0, ceil_mode=True, exclusive=not counts)
        assert np.allclose(found.numpy(), expected.numpy(), rtol=1e-12)


def test_a_forward_patched_onto_a_layer_is_not_judged_by_its_class():
    reference, port = pair(tnn.ReLU6(), pnn.ReLU())
    port.act.forward = lambda x: x.clip(0, 6)
    assert align_weights(reference, port).aligned


def test_a_layer_on_one_side_only_is_not_compared():
    reference, port = pair(tnn.ReLU(), pnn.ReLU())
    del port.act
    port.act = paddle.nn.functional.relu
    assert align_weights(reference, port).aligned


def test_forward_tells_what_its_inputs_do_not_show():
    inputs = [np.random.default_rng(0).normal(size=(2, 4)) * 0.1]
    report = align_forward(*pair(tnn.ReLU6(), pnn.ReLU()), inputs)
    assert [(d.layer, d.where) for d in report.divergences] == [("act", "attribute:class")]
    assert report.divergences[0].cause == (
        "class is ReLU, the reference has ReLU6; these inputs do not show it"
    )
    # Where the values tell, the layer's output is the finding, and the class its cause.
    report = align_forward(*pair(tnn.ReLU6(), pnn.ReLU()), [inputs[0] * 1e4])
    assert [(d.layer, d.where) for d in report.divergences] == [("act", "output:0")]
    assert report.divergences[0].cause == "class is ReLU, the reference has ReLU6"
    # Without training no dropout does anything.
    assert align_forward(*pair(tnn.Dropout(0.1), pnn.Identity()), inputs).aligned
    assert align_forward(*pair(tnn.Dropout(0.1), pnn.Identity()), inputs, train=True).exit_code == 1


def test_forward_compares_the_classes_of_layers_that_do_not_run():
    reference, port = pair(tnn.ReLU6(), pnn.ReLU())
    for net in (reference, port):
        net.forward = net.fc
    report = align_forward(reference, port, [np.ones((2, 4))])
    assert [(d.layer, d.where) for d in report.divergences] == [("act", "attribute:class")]
