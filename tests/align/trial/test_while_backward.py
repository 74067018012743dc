"""Simple layers judged while the reference runs backward: what is dropped, and what is not."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward
from align.arrays.batch import as_batch
from align.judge.comparison import DIFFERS
from align.pairing.fill import load_state
from align.pairing.pair_nets import pair_nets
from align.pairing.reference_torch import LiveReference
from align.record.recording_torch import ReferenceRun, recorded
from align.record.trace import HandedOn
from align.rounding.floors import Floors
from align.trial.setup import prepared
from align.trial.trial import LiveTrial, Trial, run_forced
from convert import convert_state


class Reference(tnn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.block = tnn.Sequential(tnn.Conv2d(3, width, 1), tnn.BatchNorm2d(width), tnn.ReLU())
        self.last = tnn.Conv2d(width, width, 1)

    def forward(self, x):
        y = self.block(x)
        return self.last(y) + y


class Port(pnn.Layer):
    def __init__(self, glue=lambda y: y, width=3):
        super().__init__()
        from paddle_impl.layers import BatchNorm2D

        self.block = pnn.Sequential(pnn.Conv2D(3, width, 1), BatchNorm2D(width), pnn.ReLU())
        self.last = pnn.Conv2D(width, width, 1)
        self.glue = glue

    def forward(self, x):
        y = self.block(x)
        return self.last(self.glue(y)) + y


def batch():
    return np.random.default_rng(0).standard_normal((2, 3, 5, 4))


def test_cotangent_is_dropped_only_where_it_passes_unchanged_between_two_judged_layers():
    net = Reference().double()
    with recorded(net, ReferenceRun((torch.from_numpy(batch()),), {}, True)) as recording:
        assert recording.backward(lambda call: True)
    cotangents = {call.path: call.grad_outputs[0] for call in recording.trace.calls}
    assert isinstance(cotangents["block.0"], HandedOn)
    assert isinstance(cotangents["block.1"], HandedOn)
    # Behind the block it is the sum of two: of the layer's and of the addition's.
    assert isinstance(cotangents["block.2"], np.ndarray)
    assert isinstance(cotangents["last"], np.ndarray)


def test_cotangent_that_is_not_finite_is_kept_and_shown():
    class Infinite(Reference):
        def forward(self, x):
            return super().forward(x) * float("inf")

    with recorded(
        Infinite().double(), ReferenceRun((torch.from_numpy(batch()),), {}, True)
    ) as recording:
        assert recording.backward(lambda call: True)
    assert all(isinstance(call.grad_outputs[0], np.ndarray) for call in recording.trace.calls)


def runs_of(monkeypatch, port, width=3):
    """Return the report on `port`, and how each recording went."""
    seen = []
    align = LiveTrial.align

    def noted(trial, way):
        seen.append((way.attempt.alone, way.attempt.copies))
        return align(trial, way)

    monkeypatch.setattr(LiveTrial, "align", noted)
    torch.manual_seed(0)
    net = Reference(width)
    arrays = {key: tensor.detach().numpy() for key, tensor in net.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return align_backward(net, port, [batch()]), seen


def test_healthy_port_needs_one_recording(monkeypatch):
    report, seen = runs_of(monkeypatch, Port())
    assert report.exit_code == 0, report.verdict
    assert seen == [(True, False)]


def test_port_that_changes_a_gradient_inside_a_container_is_blamed_on_it(monkeypatch):
    port = Port()
    relu = port.block[2]
    port.block.forward = lambda x: relu(port.block[1](port.block[0](x)) * 2.0)
    report, seen = runs_of(monkeypatch, port)
    assert {divergence.layer for divergence in report.divergences} == {"block"}
    # What did not serve is not tried again with the block as a part of the code around it, which
    # explains nothing.
    assert seen == [(True, False), (False, False), (False, False)]
    assert report.notes == [
        "the pair was run 3 times: layers could not be judged by themselves; containers were tried "
        "as code around what they hold"
    ]


def test_what_was_found_alone_is_reported_if_the_port_does_not_come_to_the_layer_again(monkeypatch):
    class Forgets(Port):
        runs = 0

        def forward(self, x):
            self.runs += 1
            y = self.block(x)
            return y if self.runs > 1 else self.last(y) + y

    port = Forgets()
    last = port.last
    convolve = last.forward
    last.forward = lambda x: convolve(x) * 2.0
    report, seen = runs_of(monkeypatch, port)
    assert seen == [(True, False)]
    wrong = {(call.layer, call.where) for call in report.calls if call.verdict == DIFFERS}
    assert ("last", "grad_input:0") in wrong


class Tied(tnn.Module):
    """Uses the weight of a layer a second time, before the layer itself is called."""

    def __init__(self):
        super().__init__()
        self.first = tnn.Linear(4, 4)
        self.last = tnn.Linear(4, 4, bias=False)

    def forward(self, x):
        return self.last(tnn.functional.linear(self.first(x), self.last.weight))


class Untied(pnn.Layer):
    """The same values and the same gradients of activations, but the second use has a copy."""

    def __init__(self):
        super().__init__()
        self.first = pnn.Linear(4, 4)
        self.last = pnn.Linear(4, 4, bias_attr=False)

    def forward(self, x):
        copy = self.last.weight.detach().clone()
        return self.last(pnn.functional.linear(self.first(x), copy))


INPUTS = np.random.default_rng(0).standard_normal((3, 4))


def filled(net, port):
    """Return both, with the same weights."""
    for parameter in net.parameters():
        tnn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    arrays = {key: tensor.detach().numpy() for key, tensor in net.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return net, port


class TiedPort(Untied):
    def forward(self, x):
        return self.last(pnn.functional.linear(self.first(x), self.last.weight))


@pytest.mark.parametrize(("port", "blamed"), [(Untied, {"last"}), (TiedPort, set())])
def test_weight_that_is_used_again_after_its_layer_was_judged_is_judged_as_a_whole(port, blamed):
    net, port = filled(Tied(), port())
    report = align_backward(net, port, [INPUTS])
    assert {divergence.layer for divergence in report.divergences} == blamed
    # Steps of training keep the gradients of the reference, for its optimizer.
    sides, batch = pair_nets(LiveReference(net), port), as_batch([INPUTS], "float64")
    with prepared(sides, dtype="float64", train=True):
        found = run_forced(sides, batch, train=True, backward=True)
    assert {call.layer for call in found.comparisons if call.verdict == DIFFERS} == blamed


def test_tensors_inside_a_call_are_dropped_once_all_of_it_is_judged():
    net = Reference().double()
    offered = {}

    def together(call, within):
        offered[call.path] = [inner.path for inner in within]
        return True

    with recorded(net, ReferenceRun((torch.from_numpy(batch()),), {}, True)) as recording:
        assert recording.backward(lambda call: True, together)
    assert offered == {"block": ["block.0", "block.1", "block.2"]}
    for call in recording.trace.calls:
        arrays = [*call.inputs, *call.outputs, *call.grad_inputs, *call.grad_outputs]
        held = any(isinstance(array, np.ndarray) for array in arrays)
        assert held != call.gone == call.path.startswith("block.")


@pytest.mark.parametrize(("glue", "dropped"), [(lambda y: y, True), (lambda y: y.detach(), False)])
def test_what_differs_inside_a_container_is_kept_and_judged_in_its_order(
    monkeypatch, glue, dropped
):
    found = []
    finish = Trial._finish

    def noted(trial, own, *others):
        found.append(own)
        finish(trial, own, *others)

    monkeypatch.setattr(Trial, "_finish", noted)
    port = Port()
    conv, norm, relu = port.block
    port.block.forward = lambda x: glue(relu(norm(conv(x))))
    report, _ = runs_of(monkeypatch, port)
    inside = [c.gone for c in found[0].trace.calls if c.path.startswith("block.")]
    assert inside == [dropped] * 3
    assert {d.layer for d in report.divergences} == (set() if dropped else {"block"})


def test_rounding_is_measured_only_where_tensors_are_not_equal_without_it(monkeypatch):
    """And so most of the reference runs once."""
    measured = []
    for name in ("alone", "together"):
        own = getattr(Floors, name)

        def noted(moves, call, *within, own=own):
            measured.append(call.path)
            return own(moves, call, *within)

        monkeypatch.setattr(Floors, name, noted)
    report, _ = runs_of(monkeypatch, Port(width=16), width=16)
    assert (report.exit_code, measured) == (0, ["block.0"])  # its bias' gradient is rounding
    port = Port(width=16)
    norm = port.block[1]
    own = norm.forward
    norm.forward = lambda x: own(x) * (1.0 + 1e-12)
    report, _ = runs_of(monkeypatch, port, width=16)
    assert "block.1" in measured
    assert {divergence.layer for divergence in report.divergences} == {"block.1"}
