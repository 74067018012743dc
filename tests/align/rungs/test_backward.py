"""The forced backward pass: healthy pairs are aligned, a lost gradient is blamed on its place."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
import torch.nn.functional as TF
from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward
from align.arrays.arrays_torch import scalar_of
from align.pairing.fill import fill_port, load_state
from align.pairing.reference_torch import LiveReference
from commands.subjects.rows import seeded_pair
from common.errors import UserError
from convert import convert_state
from tests.faults import STDC_FAULTS, small_pair

LONG = pytest.mark.prove


def blamed(report):
    return {(divergence.layer, divergence.where.split(":")[0]) for divergence in report.divergences}


@pytest.mark.parametrize("train", [pytest.param(False, marks=LONG), True], ids=["eval", "train"])
def test_healthy_stdc_is_aligned(stdc1_pair, stdc_input, train):
    report = align_backward(*stdc1_pair, [stdc_input], train=train)
    assert report.exit_code == 0, report.verdict
    assert not report.noise
    exact = [call for call in report.calls if not call.kernels]
    assert max(call.relative_error for call in exact) <= 1e-9
    assert max(call.relative_error for call in report.calls) <= 5e-6
    parameters = [call for call in report.calls if call.where.startswith("grad:")]
    assert len(parameters) == 129


@pytest.mark.prove
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("seed", range(20))
def test_healthy_stdc_is_aligned_for_every_seed(seed, train):
    torch_net, paddle_net = seeded_pair("stdc1_seg", seed)
    inputs = [np.random.default_rng(seed).standard_normal((2, 3, 64, 96))]
    report = align_backward(torch_net, paddle_net, inputs, train=train)
    assert report.exit_code == 0, report.verdict


# `make unit` takes the one whose layers lose their gradients; the forward pass finds all.
ALONE = [pytest.param(name, marks=LONG) for name in ("epsilon", "kernel axes", "scaled weight")]


@pytest.mark.parametrize("fault", [*ALONE, "attention lost"])
def test_fault_of_the_forward_pass_is_blamed_on_its_layer(stdc1_pair, stdc_input, fault):
    torch_net, paddle_net = stdc1_pair
    with STDC_FAULTS[fault](paddle_net) as layer:
        report = align_backward(torch_net, paddle_net, [stdc_input])
    assert report.exit_code == 1
    assert {divergence.layer for divergence in report.divergences} == {layer}


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.first = tnn.Conv2d(3, 4, 3, padding=1)
        self.norm = tnn.BatchNorm2d(4)
        self.second = tnn.Conv2d(4, 4, 1)
        self.scale = tnn.Parameter(torch.full((1,), 0.5))
        self.unused = tnn.Linear(2, 2)

    def forward(self, x):
        y = TF.gelu(self.norm(self.first(x)))
        return self.second(y) + self.scale * y


class Port(pnn.Layer):
    def __init__(self, glue=None):
        super().__init__()
        from paddle_impl.layers import BatchNorm2D

        self.first = pnn.Conv2D(3, 4, 3, padding=1)
        self.norm = BatchNorm2D(4)
        self.second = pnn.Conv2D(4, 4, 1)
        self.scale = self.create_parameter([1])
        self.unused = pnn.Linear(2, 2)
        self.glue = glue or (lambda y: y)

    def forward(self, x):
        y = PF.gelu(self.norm(self.first(x)))
        return self.second(y) + self.scale * self.glue(y)


def pair(glue=None):
    torch.manual_seed(0)
    reference, port = Reference(), Port(glue)
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def inputs():
    return [np.random.default_rng(0).standard_normal((2, 3, 6, 5))]


def test_own_parameters_glue_and_unused_layers_are_aligned():
    report = align_backward(*pair(), inputs())
    assert report.exit_code == 0, report.verdict
    assert ("", "grad:scale") in {(call.layer, call.where) for call in report.calls}


def test_bias_in_front_of_batchnorm_is_noise_and_not_a_pass():
    report = align_backward(*pair(), inputs())
    assert [(call.layer, call.where) for call in report.noise] == [("first", "grad:bias")]


GLUES = {
    "detached": lambda y: y.detach(),
    "halved": lambda y: y * 0.5 + y.detach() * 0.5,
    "doubled": lambda y: y * 2 - y.detach(),
    "off by 1e-7": lambda y: y * (1 + 1e-7) - y.detach() * 1e-7,
}


@pytest.mark.parametrize("glue", GLUES)
def test_gradient_that_the_glue_changes_is_blamed_on_the_glue(glue):
    report = align_backward(*pair(GLUES[glue]), inputs())
    assert blamed(report) == {("", "grad_output")}, report.verdict


def test_detached_input_of_a_layer_is_named():
    reference, port = pair()
    forward = port.second.forward
    port.second.forward = lambda x: forward(x.detach())
    report = align_backward(reference, port, inputs())
    assert blamed(report) == {("second", "grad_input")}
    assert "detached" in report.divergences[0].cause


def test_parameter_that_is_frozen_on_one_side_is_named():
    reference, port = pair()
    port.second.weight.stop_gradient = True
    report = align_backward(reference, port, inputs())
    assert blamed(report) == {("second", "grad")}
    assert report.divergences[0].cause == "frozen in the port, trained in the reference"


def torch_loss(outputs, label):
    return TF.cross_entropy(outputs, label)


def paddle_loss(outputs, label):
    return PF.cross_entropy(outputs, label, axis=1)


def labelled():
    return [*inputs(), np.random.default_rng(1).integers(0, 4, (2, 6, 5))]


def test_loss_is_a_layer_of_its_own():
    report = align_backward(*pair(), labelled(), torch_loss, paddle_loss)
    assert report.exit_code == 0, report.verdict
    of_the_loss = {call.where for call in report.calls if call.layer == "(loss)"}
    assert {"loss", "grad_output:0"} <= of_the_loss
    wrong = align_backward(*pair(), labelled(), torch_loss, lambda o, y: paddle_loss(o, y) * 1.001)
    assert blamed(wrong) == {("(loss)", "loss"), ("(loss)", "grad_output")}


def test_one_loss_alone_is_refused():
    with pytest.raises(UserError, match="both losses or none"):
        align_backward(*pair(), labelled(), torch_loss)


def test_dropout_and_shared_layers_are_aligned():
    reference, port, batch = small_pair()
    report = align_backward(reference, port, batch)
    assert report.exit_code == 0, report.verdict


def test_gradients_that_the_caller_holds_are_left_alone():
    reference, port = pair()
    reference.second.weight.grad = torch.ones_like(reference.second.weight)
    align_backward(reference, port, inputs())
    assert torch.equal(reference.second.weight.grad, torch.ones_like(reference.second.weight))
    assert reference.first.weight.grad is None
    assert all(parameter.grad is None for parameter in port.parameters())


def test_nets_without_gradients_could_not_be_checked():
    class Nothing(tnn.Module):
        def forward(self, x):
            return x.argmax(1)

    class NothingPort(pnn.Layer):
        def forward(self, x):
            return x.argmax(1)

    assert align_backward(Nothing(), NothingPort(), inputs()).exit_code == 2


def test_a_bias_in_front_of_batch_norm_sums_many_pixels_to_rounding():
    """Its gradient is 0; what thousands of equal terms leave of it is noise, however they add."""
    torch.manual_seed(0)
    reference = tnn.Sequential(tnn.Conv2d(3, 8, 3, padding=100), tnn.BatchNorm2d(8), tnn.ReLU())
    port = pnn.Sequential(pnn.Conv2D(3, 8, 3, padding=100), pnn.BatchNorm2D(8), pnn.ReLU())
    state = {key: tensor.numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(state, port).state)
    image = np.random.default_rng(0).standard_normal((2, 3, 9, 9))
    losses = [lambda outputs, label: (outputs * label).mean()] * 2
    report = align_backward(reference, port, [image, np.full((1, 1, 1, 1), 0.3)], *losses)
    assert report.exit_code == 0, report.verdict
    assert next(call.verdict for call in report.calls if call.where == "grad:bias") == "noise"


def test_gradients_from_a_scalar_are_those_from_cotangents():
    leaf = torch.arange(4.0, requires_grad=True)
    outputs = [leaf**2, leaf.sum(), leaf[1:] * 3]
    cotangents = [torch.randn_like(out) for out in outputs]
    (expected,) = torch.autograd.grad(outputs, leaf, cotangents, retain_graph=True)
    (found,) = torch.autograd.grad(scalar_of(outputs, cotangents), leaf)
    assert torch.equal(found, expected)


class Embedded(tnn.Module):
    def __init__(self):
        super().__init__()
        self.table = tnn.Embedding(5, 4)
        self.head = tnn.Linear(4, 2)

    def forward(self, words):
        return self.head(self.table(words))


class EmbeddedPort(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.table = pnn.Embedding(5, 4)
        self.head = pnn.Linear(4, 2)

    def forward(self, words):
        return self.head(self.table(words))


def test_a_difference_that_no_gradient_shows_is_a_finding():
    theirs, ours = Embedded(), EmbeddedPort()
    fill_port(LiveReference(theirs), ours)
    words = [np.array([[0, 1, 2]])]
    assert align_backward(theirs, ours, words).exit_code == 0
    with paddle.no_grad():
        ours.table.weight[1, 2] += 0.25
    report = align_backward(theirs, ours, words)
    assert report.exit_code == 1
    assert blamed(report) == {("table", "output")}


@pytest.mark.parametrize("rung", [align_forward, align_backward])
def test_a_row_that_is_not_looked_up_is_compared(rung):
    theirs, ours = Embedded(), EmbeddedPort()
    fill_port(LiveReference(theirs), ours)
    with paddle.no_grad():
        ours.table.weight[4, 2] += 0.25
    report = rung(theirs, ours, [np.array([[0, 1, 2]])])
    assert report.exit_code == 1
    assert blamed(report) == {("table", "weight")}
