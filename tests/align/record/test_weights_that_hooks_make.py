"""Reparametrisation by hooks, as torch.nn.utils.weight_norm and spectral_norm have it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn
from torch.nn.utils import parametrizations

from align import align_backward, align_forward, align_training
from align.pairing.fill import load_state
from convert import convert_state

pytestmark = pytest.mark.filterwarnings("ignore")


# torch's functions by hooks, and by parametrizations.
APIS = {"old": tnn.utils, "new": parametrizations}


class Reference(tnn.Module):
    def __init__(self, api):
        super().__init__()
        self.conv = api.weight_norm(tnn.Conv2d(3, 4, 3))
        self.head = api.spectral_norm(tnn.Conv2d(4, 2, 1))

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)))


class Port(pnn.Layer):
    def __init__(self, iterations=1):
        super().__init__()
        self.conv = pnn.utils.weight_norm(pnn.Conv2D(3, 4, 3))
        head = pnn.Conv2D(4, 2, 1)
        self.head = pnn.utils.spectral_norm(head, n_power_iterations=iterations)

    def forward(self, x):
        return self.head(pnn.functional.relu(self.conv(x)))


def mean(out, label):
    return ((out - label) ** 2).mean()


def reports(api, broken=None, **options):
    torch.manual_seed(0)
    reference, port = Reference(APIS[api]), Port(**options)
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    if broken is not None:
        broken(port)
    image = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
    label = image[:, :2, 1:-1, 1:-1]
    yield align_forward(reference, port, [image], train=True)
    yield align_backward(reference, port, [image])
    yield align_backward(reference, port, [image, label], mean, mean)
    yield align_training(
        reference,
        port,
        [[image, label]] * 2,
        mean,
        mean,
        lambda held: torch.optim.SGD(held, 0.1),
        lambda held: paddle.optimizer.SGD(0.1, parameters=held),
    )


@pytest.mark.parametrize("api", APIS)
def test_right_port_is_aligned(api):
    for report in reports(api):
        assert report.exit_code == 0, report.verdict
        told = [note for note in report.notes if note.kind == "spectral_norms"]
        assert len(told) == (api == "new")
        assert not any("do not run" in note for note in report.notes)
        if report.stage != "backward":
            assert {"buffer:weight_u", "buffer:weight_v"} <= {call.where for call in report.calls}


def test_how_far_the_orders_of_iteration_are_apart_is_measured():
    torch.manual_seed(0)
    reference, image = Reference(parametrizations), torch.rand(1, 3, 8, 8)
    reference.conv = tnn.Conv2d(3, 4, 3)
    norm = reference.head.parametrizations.weight[0]
    with torch.no_grad():
        norm._u.copy_(torch.tensor([1.0, 0.0]))
        norm._v.copy_(torch.tensor([0.5, 0.5, 0.5, 0.5]))
    port = Port()
    port.conv = pnn.Conv2D(3, 4, 3)
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    report = align_forward(reference, port, [image.numpy()], train=True)
    assert report.exit_code == 0, report.verdict
    note = next(note for note in report.notes if note.kind == "spectral_norms")
    with torch.no_grad():
        theirs = reference.head.weight
    port.train()
    port(paddle.to_tensor(image.numpy()))
    ours = port.head.weight.numpy()
    at = np.unravel_index(np.abs(ours).argmax(), ours.shape)
    apart = float(theirs.numpy()[at] / ours[at]) - 1.0
    assert abs(apart) > 1e-3
    assert note.values["apart"] == pytest.approx(abs(apart), rel=1e-3)


@pytest.mark.parametrize("api", APIS)
def test_another_number_of_iterations_is_found(api):
    found = list(reports(api, iterations=3))
    assert {report.exit_code for report in found} == {1}
    for report in found:
        assert {divergence.layer for divergence in report.divergences} == {"head"}


def lost_gradient(port):
    """The direction is no part of the graph."""

    def detach(layer, inputs):
        layer.weight = (layer.weight_g / layer.weight_v.norm()).reshape(
            [-1, 1, 1, 1]
        ) * layer.weight_v.detach()

    port.conv.register_forward_pre_hook(detach)


@pytest.mark.parametrize("api", APIS)
def test_weight_that_a_hook_makes_otherwise_is_found(api):
    for report in reports(api, lost_gradient):
        assert report.exit_code == 1
        assert {divergence.layer for divergence in report.divergences} == {"conv"}
