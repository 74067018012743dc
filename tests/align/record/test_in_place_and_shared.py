"""Code that writes into tensors, hands them on unchanged or shares them: judged right, and left."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward
from align.nets.prepare_paddle import prepared, state_kept
from align.pairing.fill import load_state
from align.record.recording_torch import ReferenceRun, record
from convert import convert_state


def body(relu, concat, cut):
    """Return what both nets do in `forward`, by the way in which they treat tensors."""

    def adds_in_place(net, x):
        y = net.second(net.first(x))
        y += x
        return net.third(y)

    def writes_into_its_input(net, x):
        x *= 2.0
        return net.second(net.first(x))

    def relu_in_place_between(net, x):
        y = net.first(x)
        relu(y)
        return net.third(net.second(y))

    def writes_into_a_view(net, x):
        y = net.first(x)
        cut(y)
        return net.second(y)

    def hands_on_unchanged(net, x):
        y = net.same(net.first(x))
        return y, net.second(net.same(y)), y

    def takes_a_parameter(net, x):
        return net.second(net.same(net.scale) * net.first(x))

    def uses_it_twice(net, x):
        y = net.first(x)
        return net.second(y) + net.third(y) + concat([y, y])[:2]

    return {
        function.__name__.replace("_", " "): function
        for function in (
            *(adds_in_place, writes_into_its_input, relu_in_place_between, writes_into_a_view),
            *(hands_on_unchanged, takes_a_parameter, uses_it_twice),
        )
    }


def cut_torch(y):
    y[:, :1] *= 0.5


def cut_paddle(y):
    y[:, :1] = y[:, :1] * 0.5


TORCH = body(torch.relu_, torch.cat, cut_torch)
PADDLE = body(paddle.nn.functional.relu_, paddle.concat, cut_paddle)


class Reference(tnn.Module):
    def __init__(self, way):
        super().__init__()
        self.first, self.second, self.third = (tnn.Conv2d(3, 3, 1) for _ in range(3))
        self.same = tnn.Identity()
        self.scale = tnn.Parameter(torch.rand(1, 3, 1, 1))
        self.way = way

    def forward(self, x):
        return TORCH[self.way](self, x)


class Port(pnn.Layer):
    def __init__(self, way):
        super().__init__()
        self.first, self.second, self.third = (pnn.Conv2D(3, 3, 1) for _ in range(3))
        self.same = pnn.Identity()
        self.scale = self.create_parameter([1, 3, 1, 1])
        self.way = way

    def forward(self, x):
        return PADDLE[self.way](self, x)


def pair(way):
    torch.manual_seed(0)
    reference, port = Reference(way), Port(way)
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def batch():
    return np.random.default_rng(0).standard_normal((2, 3, 5, 4))


def as_it_is(reference, port, image):
    """Return everything of both nets and of the input that a run could leave changed."""
    state = {key: tensor.clone() for key, tensor in reference.state_dict().items()}
    ours = {key: tensor.numpy().copy() for key, tensor in port.state_dict().items()}
    own = {
        name: sorted(vars(owner))
        for name, owner in (*reference.named_modules(), *reference.named_parameters())
    }
    return state, ours, own, image.copy()


@pytest.mark.parametrize("way", TORCH)
def test_aligned_and_everything_as_before(way):
    reference, port = pair(way)
    image = batch()
    state, ours, own, before = as_it_is(reference, port, image)
    for align in (align_forward, align_backward):
        report = align(reference, port, [image])
        assert report.exit_code == 0, report.verdict
    state_after, ours_after, own_after, after = as_it_is(reference, port, image)
    assert all(torch.equal(state[key], state_after[key]) for key in state)
    assert all((ours[key] == ours_after[key]).all() for key in ours)
    assert own == own_after
    assert (before == after).all()


def broken_after_first(port):
    forward = port.first.forward
    port.first.forward = lambda x: forward(x) * (1 + 1e-9)


@pytest.mark.parametrize("way", TORCH)
@pytest.mark.parametrize("align", [align_forward, align_backward])
def test_fault_is_blamed_on_its_layer_alone(way, align):
    reference, port = pair(way)
    broken_after_first(port)
    report = align(reference, port, [batch()])
    assert {divergence.layer for divergence in report.divergences} == {"first"}


class Block(tnn.Module):
    """As nnU-Net writes its blocks: every layer has two paths."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = tnn.Conv2d(3, 3, 1), tnn.BatchNorm2d(3)
        self.all_modules = tnn.Sequential(self.conv, self.norm, tnn.LeakyReLU(0.01, inplace=True))

    def forward(self, x):
        return self.all_modules(x)


class PortBlock(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = pnn.Conv2D(3, 3, 1), pnn.BatchNorm2D(3)
        self.all_modules = pnn.Sequential(self.conv, self.norm, pnn.LeakyReLU(0.01))

    def forward(self, x):
        return self.all_modules(x)


class Shares(tnn.Module):
    """An encoder that the decoder holds, too."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = tnn.Sequential(Block(), Block()), tnn.Module()
        self.decoder.encoder, self.head = self.encoder, tnn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.head(self.encoder(x))


class PortShares(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = pnn.Sequential(PortBlock(), PortBlock()), pnn.Layer()
        self.decoder.encoder, self.head = self.encoder, pnn.Conv2D(3, 2, 1)

    def forward(self, x):
        return self.head(self.encoder(x))


def detached_weight(port):
    conv = port.encoder[1].conv
    conv.forward = lambda x: pnn.functional.conv2d(x, conv.weight.detach(), conv.bias)


@pytest.mark.parametrize(
    ("broken", "blamed"), [(None, set()), (detached_weight, {"encoder.1.conv"})]
)
def test_module_under_several_paths_is_judged_backward_once(broken, blamed):
    torch.manual_seed(0)
    reference, port = Shares(), PortShares()
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    if broken is not None:
        broken(port)
    report = align_backward(reference, port, [batch()])
    assert report.exit_code == int(broken is not None), report.verdict
    assert {divergence.layer for divergence in report.divergences} == blamed


class WritesPastTheCounter(tnn.Module):
    """Changes a tensor through `.data`, of which its counter of writes knows nothing."""

    def __init__(self):
        super().__init__()
        self.first = tnn.Conv2d(3, 3, 1)

    def forward(self, x):
        y = self.first(x)
        y.data.clamp_(min=0.0)
        return y


@pytest.mark.parametrize("backward", [False, True])
def test_recording_keeps_what_stood_at_each_boundary(backward):
    for net, least in (
        (WritesPastTheCounter(), -0.01),
        (Reference("relu in place between"), -0.01),
    ):
        image = torch.from_numpy(batch()).float()
        plain = net.first(image.clone())
        trace = record(net, ReferenceRun((image,), {}, backward))
        calls = {call.path: call for call in trace.calls}
        assert calls["first"].outputs[0].min() < least
        np.testing.assert_array_equal(calls["first"].outputs[0], plain.detach().numpy())
        assert (calls[""].inputs[0] == image.numpy()).all()


def test_recording_survives_the_next_step_of_the_net():
    net = Reference("takes a parameter")
    image = torch.from_numpy(batch()).float()
    trace = record(net, ReferenceRun((image,), {}, True))
    kept = copy.deepcopy(trace.calls)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    image.zero_()
    for before, after in zip(kept, trace.calls, strict=True):
        for one, other in zip(
            before.inputs + before.outputs, after.inputs + after.outputs, strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_weights_that_are_almost_float32_numbers_come_back_to_the_bit():
    # To Paddle 2.6.2 they equal their float32 neighbours.
    net = pnn.Linear(3, 3)
    with prepared(net, dtype="float64", train=True):
        values = np.array(net.weight.numpy(), "float64") + 4e-9
        net.weight.set_value(values)
        with state_kept(net):
            pass
        assert net.weight.dtype == paddle.float64
        assert np.array_equal(net.weight.numpy(), values)


@pytest.mark.parametrize("align", [align_forward, align_backward])
def test_nothing_of_a_run_waits_for_the_collector_of_cycles(align):
    """Arrays do not make it run: alignments in a loop would pile up activations."""
    import gc
    import weakref

    from align.record.trace import Call, Trace
    from align.trial.trial import Trial

    torch.manual_seed(0)  # weights that leave no ReLU dead
    reference, port = (
        tnn.Sequential(tnn.Linear(4, 4), tnn.ReLU()),
        pnn.Sequential(pnn.Linear(4, 4), pnn.ReLU()),
    )
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    gc.collect()
    gc.disable()
    try:
        before = {id(o) for o in gc.get_objects() if isinstance(o, (Call, Trace, Trial))}
        assert align(reference, port, [np.ones((2, 4))]).aligned
        left = [o for o in gc.get_objects() if isinstance(o, (Call, Trace, Trial))]
        assert not [o for o in left if id(o) not in before]
        alive = weakref.ref(reference), weakref.ref(port)
        del reference, port
        assert [net() for net in alive] == [None, None]
    finally:
        gc.enable()
