"""The first value that is not finite is found at its layer and line, in either framework."""

import numpy as np
import pytest

from commands.replay.sides import tensors_of
from commands.replay.watch import Watch
from tests.commands.replay.nets import build, build_criterion, framework, line_of


def watched(side, fault="", loss_fault="", change=None):
    """Return (findings of one step, functions of the net, that of the criterion)."""
    pytest.importorskip(side)
    net, code = build(side, fault)
    criterion, loss_code = build_criterion(side, loss_fault)
    fw, _ = framework(side)
    if change:
        change(net)
    make = fw.from_numpy if side == "torch" else fw.to_tensor
    x = make(np.random.default_rng(0).standard_normal((5, 3)).astype("float32"))
    watch = Watch(tensors_of(side), net, criterion)
    with watch.watching():
        criterion(net(x), make(np.zeros((5, 2), "float32"))).backward()
    return watch.findings, code, loss_code


SIDES = pytest.mark.parametrize("side", ["torch", "paddle"])


@SIDES
def test_a_healthy_step_has_none(side):
    assert watched(side)[0] == []


@SIDES
@pytest.mark.parametrize(
    ("fault", "layer", "function", "words"),
    [
        ("layer", "block.scale", "layer", "fw.log"),
        ("glue", "block", "block", "y - y"),
        ("nested", "block", "block", "return self.second(fw.log"),
    ],
)
def test_forward(side, fault, layer, function, words):
    findings, code, _ = watched(side, fault)
    first = findings[0]
    assert (first.phase, first.part, first.layer) == ("forward", "net", layer)
    assert first.source.endswith(line_of(code[function], words))
    assert first.bad.nan + first.bad.infinite == first.bad.total == 20


@SIDES
def test_a_weight_that_overflows_is_seen_at_its_layer(side):
    def change(net):
        weight = net.block.second.weight
        huge = np.full(weight.shape, 3e38, "float32")
        if side == "torch":
            weight.data.copy_(__import__("torch").from_numpy(huge))
        else:
            weight.set_value(huge)

    findings, code, _ = watched(side, change=change)
    assert findings[0].place == ("forward", "net", "block.second")
    assert findings[0].where == "output:0"
    assert findings[0].source.endswith(line_of(code["block"], "return self.second(y)"))


@SIDES
def test_loss(side):
    findings, _, code = watched(side, loss_fault="loss")
    assert findings[0].place == ("loss", "criterion", "")
    assert findings[0].source.endswith(line_of(code, "fw.log"))


@SIDES
def test_backward_of_code_between_layers(side):
    """sqrt(0) beside two layers that are sound: the block's code, neither of them."""
    findings, _, _ = watched(side, "backward")
    assert findings[0].place == ("backward", "net", "block")
    assert findings[0].where.startswith("grad_output:0 of block.scale")


@SIDES
def test_backward_of_the_criterion(side):
    findings = watched(side, loss_fault="root")[0]
    assert findings[0].place == ("backward", "criterion", "")


@SIDES
def test_an_infinite_statistic_that_nothing_is_made_of_is_no_finding(side):
    assert watched(side, "statistic")[0] == []


@SIDES
def test_an_infinite_mask_is_no_nan(side):
    """What is infinite by intent is told, and is not taken for the first NaN."""
    findings, code, _ = watched(side, "mask")
    assert findings[0].bad.nan == 0
    assert findings[0].source.endswith(line_of(code["masked"], "hidden ="))
    assert [f for f in findings if f.phase == "forward" and f.bad.nan] == []
