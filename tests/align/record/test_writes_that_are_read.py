"""In-place code whose input is read again: the write is a part of what is judged."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import torch.nn.functional as F
from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, align_training, force_trace, record_trace
from align.pairing.fill import load_state
from align.record.recording_torch import ReferenceRun, record
from convert import convert_state

PF = pnn.functional


class Acts(tnn.Module):
    """What a user writes: it works in place by a function, with no attribute that says so."""

    def forward(self, x):
        return F.relu(x, inplace=True)


class Multiplies(tnn.Module):
    def forward(self, x):
        x *= 3.0
        return x * 2.0


class Cuts(tnn.Module):
    def forward(self, x):
        x[:, :1] = 0.5
        return x * 2.0


class Sums(tnn.Module):
    def forward(self, features):
        return features[0] + features[1]


class Keeps(tnn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.kept = tnn.Conv2d(3, 3, 1), None

    def forward(self, x):
        self.kept = self.conv(x)
        return self.kept


class PortActs(pnn.Layer):
    def forward(self, x):
        return PF.relu(x)


class PortActsInPlace(pnn.Layer):
    def forward(self, x):
        return PF.relu_(x)


class PortMultiplies(pnn.Layer):
    def forward(self, x):
        return x * 3.0 * 2.0


class PortCuts(pnn.Layer):
    def forward(self, x):
        return paddle.concat([paddle.full_like(x[:, :1], 0.5), x[:, 1:]], 1) * 2.0


class PortSums(pnn.Layer):
    def forward(self, features):
        return features[0] + features[1]


class PortKeeps(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.conv, self.kept = pnn.Conv2D(3, 3, 1), None

    def forward(self, x):
        self.kept = self.conv(x)
        return self.kept


def skips(net, x):
    x = net.first(x)
    return net.last(net.act(x) + x)


def as_assigned(net, x):
    x = net.act(net.first(x))
    return net.last(x + x)


def as_called_again(net, x):
    x = net.first(x)
    return net.last(net.act(x) + PF.relu(x))


def with_channels(net, x):
    x = net.first(x)
    return net.last(net.act(x) + paddle.concat([paddle.full_like(x[:, :1], 0.5), x[:, 1:]], 1))


def with_three(net, x):
    x = net.first(x)
    return net.last(net.act(x) + 3.0 * x)


def with_silu(net, x):
    x = net.first(x)
    return net.last(net.act(x) + PF.silu(x))


def with_first(net, x):
    x = net.first(x)
    return net.last(net.act(x) + PF.relu(net.act[0](x)))


def on_a_view(net, x):
    x = net.first(x)
    return net.last(paddle.concat([net.act(x[:, :2]), x[:, 2:]], 1) + x)


def reference_on_a_view(net, x):
    x = net.first(x)
    return net.last(torch.cat([net.act(x[:, :2]), x[:, 2:]], 1) + x)


def view_right(net, x):
    x = net.first(x)
    x = paddle.concat([net.act(x[:, :2]), x[:, 2:]], 1)
    return net.last(x + x)


def on_the_input(net, x):
    return net.last(net.first(net.act(x)) + x)


def input_right(net, x):
    x = net.act(x)
    return net.last(net.first(x) + x)


def in_a_list(net, x):
    features = [net.first(x)]
    features.append(net.act(features[0]))
    return net.last(net.sums(features))


def list_right(net, x):
    x = net.act(net.first(x))
    return net.last(net.sums([x, x]))


def kept_elsewhere(net, x):
    return net.last(net.act(net.keeps(x)) + net.keeps.kept)


def kept_right(net, x):
    x = net.act(net.keeps(x))
    return net.last(x + x)


def tsequence(*layers):
    return lambda: tnn.Sequential(*(layer() for layer in layers))


def psequence(*layers):
    return lambda: pnn.Sequential(*(layer() for layer in layers))


def conv():
    return tnn.Conv2d(3, 3, 1)


def port_conv():
    return pnn.Conv2D(3, 3, 1)


def relu():
    return tnn.ReLU(inplace=True)


# name: reference's layer and code, port's layer, right codes of the port, wrong ones
CASES = {
    "relu": (relu, skips, pnn.ReLU, (as_assigned, as_called_again), (skips,)),
    "silu": (lambda: tnn.SiLU(True), skips, pnn.Silu, (as_assigned, with_silu), (skips,)),
    "elu": (lambda: tnn.ELU(inplace=True), skips, pnn.ELU, (as_assigned,), (skips,)),
    "function": (Acts, skips, PortActs, (as_assigned, as_called_again), (skips,)),
    "in place on both": (Acts, skips, PortActsInPlace, (skips,), ()),
    "in place in the port": (tnn.ReLU, skips, PortActsInPlace, (), (skips,)),
    "multiplies": (Multiplies, skips, PortMultiplies, (with_three,), (skips,)),
    "cuts": (Cuts, skips, PortCuts, (with_channels,), (skips,)),
    "sequence": (
        *(tsequence(relu, conv), skips, psequence(pnn.ReLU, port_conv)),
        *((as_called_again,), (skips,)),
    ),
    "view": (relu, reference_on_a_view, pnn.ReLU, (view_right,), (on_a_view,)),
    "input": (relu, on_the_input, pnn.ReLU, (input_right,), (on_the_input,)),
    "list": (relu, in_a_list, pnn.ReLU, (list_right,), (in_a_list,)),
    "kept": (relu, kept_elsewhere, pnn.ReLU, (kept_right,), (kept_elsewhere,)),
}


class Reference(tnn.Module):
    def __init__(self, act, code):
        super().__init__()
        self.first, self.act, self.last, self.code = conv(), act(), conv(), code
        self.sums, self.keeps = Sums(), Keeps()

    def forward(self, x):
        return self.code(self, x)


class Port(pnn.Layer):
    def __init__(self, act, code):
        super().__init__()
        self.first, self.act, self.last, self.code = port_conv(), act(), port_conv(), code
        self.sums, self.keeps = PortSums(), PortKeeps()

    def forward(self, x):
        return self.code(self, x)


def pair(name, code):
    act, theirs, port_act, _, _ = CASES[name]
    torch.manual_seed(0)
    reference, port = Reference(act, theirs), Port(port_act, code)
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def batch():
    return np.random.default_rng(0).standard_normal((2, 3, 5, 4))


RIGHT = [(name, code) for name, case in CASES.items() for code in case[3]]
WRONG = [(name, code) for name, case in CASES.items() for code in case[4]]
BOTH = [align_forward, align_backward]


def named(case):
    return case if isinstance(case, str) else getattr(case, "__name__", None)


@pytest.mark.parametrize("align", BOTH, ids=named)
@pytest.mark.parametrize(("name", "code"), RIGHT, ids=named)
def test_right_port_is_aligned(name, code, align):
    reference, port = pair(name, code)
    before = [vars(module).copy() for module in reference.modules()]
    report = align(reference, port, [batch()])
    assert report.exit_code == 0, report.verdict
    assert [vars(module) for module in reference.modules()] == before


@pytest.mark.parametrize("name", CASES)
def test_recording_gives_what_the_untouched_net_does(name):
    reference = pair(name, skips)[0].double()
    image = torch.from_numpy(batch())
    run = ReferenceRun((image.clone(),), {}, backward=True)
    trace = record(reference, run)
    outputs = reference(image.clone())
    root = next(call for call in trace.calls if call.path == "")
    np.testing.assert_array_equal(root.outputs[0], outputs.detach().numpy())
    torch.autograd.backward([outputs], run.cotangents([outputs]))
    for key, parameter in reference.named_parameters():
        if parameter.grad is None:
            assert trace.gradients[key] is None
        else:
            np.testing.assert_allclose(trace.gradients[key], parameter.grad, rtol=1e-12)


@pytest.mark.parametrize("align", BOTH, ids=named)
@pytest.mark.parametrize(("name", "code"), WRONG, ids=named)
def test_port_that_reads_what_was_there_before_is_found(name, code, align):
    reference, port = pair(name, code)
    report = align(reference, port, [batch()])
    assert report.exit_code == 1, report.verdict
    assert {divergence.layer for divergence in report.divergences} == {""}


@pytest.mark.parametrize(("code", "expected"), [(as_assigned, 0), (skips, 1)], ids=named)
def test_steps_of_training_see_the_write(code, expected):
    reference, port = pair("relu", code)
    report = align_training(
        *(reference, port),
        [(batch(), np.zeros(2, int))] * 2,
        torch_loss=lambda outputs, _: (outputs**2).mean(),
        paddle_loss=lambda outputs, _: (outputs**2).mean(),
        torch_optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1),
        paddle_optimizer=lambda parameters: paddle.optimizer.SGD(0.1, parameters=parameters),
    )
    assert report.exit_code == expected, report.verdict


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(("code", "expected"), [(as_called_again, 0), (skips, 1)], ids=named)
def test_stored_traces_hold_the_write(code, expected, backward, tmp_path):
    reference, port = pair("sequence", code)
    folder = record_trace(reference, [batch()], tmp_path / "trace", backward=backward)
    report = force_trace(port, folder)
    assert report.exit_code == expected, report.verdict


def test_dropout_in_place_drops_what_is_read_again():
    torch.manual_seed(0)
    for code, expected in ((as_assigned, 0), (skips, 1)):
        reference = Reference(lambda: tnn.Dropout(0.5, inplace=True), skips)
        port = Port(lambda: pnn.Dropout(0.5), code)
        arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
        load_state(port, convert_state(arrays, port).state)
        for align in (align_backward, lambda *nets: align_forward(*nets, train=True)):
            report = align(reference, port, [batch()])
            assert report.exit_code == expected, report.verdict


def test_module_in_place_that_nobody_reads_after_stays_a_layer():
    reference, port = pair("relu", as_assigned)
    reference.code = as_assigned
    port.act = pnn.LeakyReLU(0.3)
    report = align_backward(reference, port, [batch()])
    assert {divergence.layer for divergence in report.divergences} == {"act"}
