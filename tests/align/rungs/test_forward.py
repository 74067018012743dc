"""The forced forward pass: healthy pairs are aligned, faults are blamed on exactly their layer."""

import dataclasses
import json
from contextlib import ExitStack

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_forward
from commands.subjects.rows import seeded_pair
from tests.faults import STDC_FAULTS, small_faults, small_pair


def blamed(report):
    return {divergence.layer for divergence in report.divergences}


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_healthy_stdc_is_aligned(stdc1_pair, stdc_input, train):
    healthy(*stdc1_pair, stdc_input, train)


def healthy(torch_net, paddle_net, image, train):
    report = align_forward(torch_net, paddle_net, [image], train=train)
    assert report.exit_code == 0, report.verdict
    assert not report.noise
    exact = [call for call in report.calls if not call.kernels]
    assert max(call.relative_error for call in exact) <= 1e-11
    assert max(call.relative_error for call in report.calls) <= 5e-6
    assert len(report.calls) > 350


@pytest.mark.prove
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("seed", range(20))
def test_healthy_stdc_is_aligned_for_every_seed(seed, train):
    image = np.random.default_rng(seed).standard_normal((2, 3, 64, 96))
    healthy(*seeded_pair("stdc1_seg", seed), image, train)


# In eval mode `make unit` finds them all at once, below; in train mode one of a block's own code.
# Those of small nets, settings among them, stand below and in tests/faults.
ALONE = ("concat order",)
CASES = [
    pytest.param(fault, train, marks=() if train and fault in ALONE else pytest.mark.prove)
    for fault in STDC_FAULTS
    for train in (False, True)
]


@pytest.mark.parametrize(("fault", "train"), CASES)
def test_one_fault_is_blamed_on_its_layer(stdc1_pair, stdc_input, fault, train):
    torch_net, paddle_net = stdc1_pair
    with STDC_FAULTS[fault](paddle_net) as layer:
        report = align_forward(torch_net, paddle_net, [stdc_input], train=train)
    assert (report.exit_code, report.aligned) == (1, False)
    assert blamed(report) == {layer}


@pytest.fixture(scope="module")
def all_at_once(stdc1_pair, stdc_input):
    """The layer of each fault of STDC, and the report of a port that has them all."""
    torch_net, paddle_net = stdc1_pair
    with ExitStack() as stack:
        layers = {n: stack.enter_context(fault(paddle_net)) for n, fault in STDC_FAULTS.items()}
        return layers, align_forward(torch_net, paddle_net, [stdc_input])


def test_all_faults_at_once_are_all_found(all_at_once):
    layers, report = all_at_once
    assert blamed(report) == set(layers.values())


@pytest.mark.parametrize("fault", list(small_faults()), ids=str)
def test_fault_of_a_small_net_is_blamed_on_its_layer(fault):
    torch_net, paddle_net, inputs = small_pair()
    layer = small_faults()[fault](paddle_net)
    report = align_forward(torch_net, paddle_net, inputs, train=True)
    assert blamed(report) == {layer}, report.verdict


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_small_net_with_everything_in_it_is_aligned(train):
    """Shared layer, keyword, dict output, dataclass, dropout, integer output, unused layer."""
    torch_net, paddle_net, inputs = small_pair()
    report = align_forward(torch_net, paddle_net, inputs, train=train)
    assert report.exit_code == 0, report.verdict
    seen = {call.layer for call in report.calls}
    assert {"", "stem", "shared", "drop", "head"} <= seen


def test_nets_come_back_as_they_were():
    torch_net, paddle_net, inputs = small_pair()
    torch_net.eval()
    torch_net.norm.train()
    paddle_net.train()
    paddle_net.drop.eval()
    ours = {k: (v.dtype, v.numpy().tobytes()) for k, v in paddle_net.state_dict().items()}
    theirs = {k: (v.dtype, v.numpy().tobytes()) for k, v in torch_net.state_dict().items()}
    modes = [m.training for m in torch_net.modules()]
    layers = [layer.training for layer in paddle_net.sublayers(include_self=True)]
    random_state = torch.get_rng_state()
    align_forward(torch_net, paddle_net, inputs, train=True)
    assert ours == {k: (v.dtype, v.numpy().tobytes()) for k, v in paddle_net.state_dict().items()}
    assert theirs == {k: (v.dtype, v.numpy().tobytes()) for k, v in torch_net.state_dict().items()}
    assert modes == [m.training for m in torch_net.modules()]
    assert layers == [layer.training for layer in paddle_net.sublayers(include_self=True)]
    assert torch.equal(random_state, torch.get_rng_state())
    assert paddle.get_default_dtype() == "float32"
    assert not any("forward" in vars(m) for m in torch_net.modules())
    assert not any("forward" in vars(m) for m in paddle_net.sublayers(include_self=True))


class _Plain(tnn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


class _Port(pnn.Layer):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


def _identity(module, function):
    module.forward = function
    return module


def test_nan_on_both_sides_is_not_a_pass():
    torch_net = _Plain(_identity(tnn.Identity(), lambda x: x / 0.0 * 0.0))
    paddle_net = _Port(_identity(pnn.Identity(), lambda x: x / 0.0 * 0.0))
    report = align_forward(torch_net, paddle_net, [np.ones((2, 3))])
    assert report.exit_code == 2
    assert "NaN or infinite on both sides" in report.verdict


def test_nan_on_one_side_is_a_difference():
    torch_net = _Plain(_identity(tnn.Identity(), lambda x: x / 0.0 * 0.0))
    paddle_net = _Port(_identity(pnn.Identity(), lambda x: x))
    report = align_forward(torch_net, paddle_net, [np.ones((2, 3))])
    assert report.exit_code == 1
    assert blamed(report) == {"body"}


def test_shape_that_would_broadcast_is_a_difference():
    torch_net = _Plain(_identity(tnn.Identity(), lambda x: x))
    paddle_net = _Port(_identity(pnn.Identity(), lambda x: x[:1]))
    report = align_forward(torch_net, paddle_net, [np.ones((2, 3))])
    assert report.exit_code == 1
    assert "shape [1, 3], the reference has [2, 3]" in report.divergences[0].cause


def test_missing_output_is_a_difference():
    torch_net = _Plain(_identity(tnn.Identity(), lambda x: (x, x)))
    paddle_net = _Port(_identity(pnn.Identity(), lambda x: (x,)))
    report = align_forward(torch_net, paddle_net, [np.ones((2, 3))])
    assert report.exit_code == 1
    assert "1 tensors, the reference has 2" in report.divergences[0].cause


def test_nothing_to_compare_is_could_not_check():
    torch_net = _Plain(_identity(tnn.Identity(), lambda x: None))
    paddle_net = _Port(_identity(pnn.Identity(), lambda x: None))
    assert align_forward(torch_net, paddle_net, [np.ones((2, 3))]).exit_code == 2


def test_random_code_of_the_reference_is_could_not_check():
    torch_net = _Plain(_identity(tnn.Identity(), lambda x: x + torch.poisson(torch.ones_like(x))))
    paddle_net = _Port(
        _identity(pnn.Identity(), lambda x: x + paddle.poisson(paddle.ones(x.shape)))
    )
    report = align_forward(torch_net, paddle_net, [np.ones((2, 3))])
    assert report.exit_code == 2
    assert "random numbers drawn by poisson" in report.verdict


def test_a_head_that_the_port_lost_is_found_though_it_is_not_returned():
    class Reference(_Plain):
        def forward(self, x):
            self.aux(x)
            return self.body(x)

    reference = Reference(tnn.Linear(3, 3))
    reference.aux = tnn.Linear(3, 2)
    port = _Port(pnn.Linear(3, 3))
    port.body.set_state_dict(
        {
            "weight": reference.body.weight.detach().numpy().T,
            "bias": reference.body.bias.detach().numpy(),
        }
    )
    report = align_forward(reference, port, [np.ones((2, 3))])
    assert [(d.layer, d.where) for d in report.divergences] == [("", "calls")]


def test_code_written_out_in_the_port_is_judged_as_glue():
    """A layer whose weights the port uses directly is no fault."""

    class Port(_Port):
        def forward(self, x):
            return x @ self.body.weight + self.body.bias

    reference = _Plain(tnn.Linear(3, 3))
    port = Port(pnn.Linear(3, 3))
    weight, bias = reference.body.weight.detach().numpy(), reference.body.bias.detach().numpy()
    port.body.set_state_dict({"weight": weight.T, "bias": bias})
    report = align_forward(reference, port, [np.ones((2, 3))])
    assert report.exit_code == 0, report.verdict
    assert any("body" in note for note in report.notes)


def test_report_says_it_all_in_json(tmp_path, all_at_once):
    layers, report = all_at_once
    report.to_json(tmp_path / "deep" / "report.json")
    data = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert (data["exit_code"], data["aligned"]) == (1, False)
    rows = (row for row in data["divergences"] if row["layer"] == layers["epsilon"])
    divergence = next(rows)
    assert "stdc.py" in divergence["torch_source"]  # the user's line, not BatchNorm's own
    assert divergence["cause"] == "epsilon is 2e-05, the reference has 1e-05"
    assert len(data["calls"]) == len(report.calls)
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "report.json"]


def test_divergence_fields_are_the_contract():
    from align import Divergence

    contract = {"layer", "where", "relative_error", "floor", "worst_index", "step", "cause"}
    contract |= {"torch_source", "paddle_source"}
    assert contract <= {field.name for field in dataclasses.fields(Divergence)}


def test_long_sums_of_a_nearly_constant_map_are_rounding():
    """torch adds the values of a channel one after the other; Paddle does not."""
    from paddle_impl.layers import BatchNorm2D

    x = np.full((2, 4, 200, 200), 0.1)
    x[:, :, :9, :9] += np.random.default_rng(0).standard_normal((2, 4, 9, 9))
    report = align_forward(_Plain(tnn.BatchNorm2d(4)), _Port(BatchNorm2D(4)), [x], train=True)
    assert report.exit_code == 0, report.verdict
    assert max(call.floor for call in report.calls) < 1e-11


def test_layer_that_does_not_run_in_this_mode_is_compared_by_its_weights(stdc1_pair, stdc_input):
    torch_net, paddle_net = stdc1_pair
    weight = paddle_net.conv_out_sp4.conv.conv.weight
    before = weight.numpy().copy()
    weight.set_value(before * np.float32(1.0001))
    norm = paddle_net.conv_out_sp16.conv.bn
    norm._epsilon = 2e-5
    report = align_forward(torch_net, paddle_net, [stdc_input])
    weight.set_value(before)
    norm._epsilon = 1e-5
    assert blamed(report) == {"conv_out_sp4.conv.conv", "conv_out_sp16.conv.bn"}


class _InPlace(tnn.Module):
    """An in-place module whose input is read afterwards."""

    def __init__(self):
        super().__init__()
        self.conv = tnn.Conv2d(3, 4, 1)
        self.relu = tnn.ReLU(inplace=True)

    def forward(self, x):
        x = self.conv(x)
        return self.relu(x) + x


class _InPlacePort(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = pnn.Conv2D(3, 4, 1)
        self.relu = pnn.ReLU()

    def forward(self, x):
        x = self.conv(x)
        return self.relu(x) + x


def test_in_place_module_whose_input_is_read_later_is_part_of_the_code_around_it():
    reference, port = _InPlace(), _InPlacePort()
    port.conv.weight.set_value(reference.conv.weight.detach().numpy())
    port.conv.bias.set_value(reference.conv.bias.detach().numpy())
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    report = align_forward(reference, port, [x])
    assert report.exit_code == 1
    assert blamed(report) == {""}
    assert any("relu writes into its input" in note for note in report.notes)
    assert reference.relu.inplace


def test_dropout_of_channels_and_of_elements_are_not_the_same():
    reference, port = _Plain(tnn.Dropout2d(0.4)), _Port(pnn.Dropout(0.4))
    x = np.random.default_rng(0).standard_normal((2, 8, 4, 4))
    assert align_forward(reference, port, [x], train=True).exit_code == 1
    same = _Port(pnn.Dropout2D(0.4))
    assert align_forward(reference, same, [x], train=True).exit_code == 0


def test_port_that_cannot_run_as_it_is_still_names_the_layer():
    class Reference(_Plain):
        def forward(self, x):
            return self.body(x) + x

    class Port(_Port):
        def forward(self, x):
            return self.body(x) + x

    reference = Reference(tnn.Conv2d(3, 3, 3, padding=1))
    port = Port(pnn.Conv2D(3, 3, 3, padding=0))
    port.body.weight.set_value(reference.body.weight.detach().numpy())
    port.body.bias.set_value(reference.body.bias.detach().numpy())
    report = align_forward(reference, port, [np.ones((1, 3, 6, 6))])
    assert blamed(report) == {"body"}
    assert any("the port fails" in note for note in report.notes)


def test_layer_that_is_frozen_in_a_training_net_stays_frozen():
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 5))
    reference, port = _Plain(tnn.BatchNorm2d(3)).train(), _Port(pnn.BatchNorm2D(3))
    port.train()
    reference.body.eval()
    assert align_forward(reference, port, [x], train=True).exit_code == 1
    port.body.eval()
    assert align_forward(reference, port, [x], train=True).exit_code == 0


def test_epsilon_of_group_norm_is_held_as_this_paddle_holds_it():
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 5)) * 1e-3
    report = align_forward(_Plain(tnn.GroupNorm(2, 4)), _Port(pnn.GroupNorm(2, 4)), [x])
    assert report.exit_code == 0, report.verdict


def test_tensors_that_the_nets_make_themselves_have_the_same_dtype():
    reference = _Plain(_identity(tnn.Identity(), lambda x: x * torch.linspace(0, 1, 10)))
    port = _Port(_identity(pnn.Identity(), lambda x: x * paddle.linspace(0, 1, 10)))
    assert align_forward(reference, port, [np.ones((2, 10))]).exit_code == 0
    assert torch.get_default_dtype() == torch.float32
