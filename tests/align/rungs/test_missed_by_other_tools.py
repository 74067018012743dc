"""What PaDiff, reprod_log and X2Paddle pass over in silence must end non-zero here."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
import torch.nn.functional as TF
from paddle import nn as pnn
from torch import nn as tnn

from align import (
    align_backward,
    align_data,
    align_forward,
    align_metric,
    align_training,
    align_weights,
)
from align.judge.compare import Allowance, compare
from align.judge.comparison import DIFFERS, EQUAL, Comparison
from tests.faults.recipes import Net, TorchNet
from tests.faults.students import make_pair


def image():
    return np.random.default_rng(0).standard_normal((3, 3, 6, 5))


def pair():
    torch.manual_seed(0)
    return make_pair(TorchNet(), Net())


def around(layer, change):
    inner = layer.forward
    layer.forward = lambda *args: change(inner(*args))


def judged(reference, port):
    return compare(np.asarray(reference), np.asarray(port), Allowance(), Comparison("", "", "", ""))


def test_nan_against_a_number():
    theirs, ours = pair()
    around(ours.fc, lambda x: paddle.where(x == x.max(), paddle.full_like(x, float("nan")), x))
    assert align_forward(theirs, ours, [image()]).exit_code == 1
    assert judged([5.0, 1.0], [np.nan, 1.0]).verdict == DIFFERS


def test_nan_on_both_sides_is_not_checked():
    theirs, ours = pair()
    x = image()
    x[0, 0, 0, 0] = np.nan
    report = align_forward(theirs, ours, [x])
    assert report.exit_code == 2
    assert "NaN" in report.unchecked[0].cause


def test_infinities_of_both_sides_that_differ():
    assert judged([np.inf], [-np.inf]).verdict == DIFFERS
    assert judged([np.inf], [np.inf]).verdict == EQUAL


@pytest.mark.parametrize("shapes", [((4, 1), (1, 3)), ((2, 6), (3, 4)), ((2, 3), (3, 2))])
def test_shapes_that_broadcast_reshape_or_transpose(shapes):
    # reprod_log broadcasts and transposes, PaDiff compares means
    assert judged(np.ones(shapes[0]), np.ones(shapes[1])).verdict == DIFFERS


def test_output_of_another_shape():
    theirs, ours = pair()
    around(ours, lambda x: x.mean(axis=0, keepdim=True))
    assert align_forward(theirs, ours, [image()]).exit_code == 1


def test_missing_output():
    class Two(tnn.Module):
        def forward(self, x):
            return x * 2, x + 1

    class One(pnn.Layer):
        def forward(self, x):
            return x * 2

    report = align_forward(Two(), One(), [image()])
    assert report.exit_code == 1
    assert "1 tensors, the reference has 2" in report.divergences[0].cause


def test_extra_bias():
    theirs, ours = pair()
    ours.conv.bias = ours.conv.create_parameter([4], is_bias=True)
    report = align_weights(theirs, ours)
    assert report.exit_code == 1
    assert {d.layer for d in report.divergences} == {"conv"}


class TorchTwo(tnn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = tnn.Linear(4, 4), tnn.Linear(4, 4)

    def forward(self, x):
        return self.second(self.first(x).relu())


class Two(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.first, self.second = pnn.Linear(4, 4), pnn.Linear(4, 4)

    def forward(self, x):
        return self.second(PF.relu(self.first(x)))


def test_equal_shaped_parameters_that_are_exchanged():
    torch.manual_seed(0)
    theirs, ours = make_pair(TorchTwo(), Two())
    assert align_weights(theirs, ours).exit_code == 0
    first, second = ours.first.weight.numpy().copy(), ours.second.weight.numpy().copy()
    ours.first.weight.set_value(second)
    ours.second.weight.set_value(first)
    report = align_weights(theirs, ours)
    assert {d.layer for d in report.divergences} == {"first", "second"}
    assert "it is the reference's second.weight" in report.divergences[0].cause


def test_square_linear_that_is_right_is_no_false_alarm_and_untransposed_is_found():
    torch.manual_seed(0)
    theirs, ours = make_pair(TorchTwo(), Two())
    assert align_backward(theirs, ours, [np.ones((3, 4))]).exit_code == 0
    ours.first.weight.set_value(ours.first.weight.numpy().T.copy())
    assert {d.layer for d in align_weights(theirs, ours).divergences} == {"first"}


def batches(count=4):
    rng = np.random.default_rng(1)
    return [
        (rng.standard_normal((3, 3, 6, 5)), rng.integers(0, 5, (3, 6, 5))) for _ in range(count)
    ]


def train(ours_schedule, paddle_loss=None):
    theirs, ours = pair()
    return align_training(
        theirs,
        ours,
        batches(),
        TF.cross_entropy,
        paddle_loss or (lambda o, y: PF.cross_entropy(o, y, axis=1)),
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: paddle.optimizer.SGD(0.1, parameters=p),
        lambda step: 0.1,
        ours_schedule,
    )


def test_rate_that_is_wrong_from_step_2_on():
    report = train(lambda step: 0.1 if step < 2 else 0.11)
    assert {(d.step, d.where) for d in report.divergences} == {(2, "lr")}


def test_later_steps_are_looked_at():
    calls = []

    def loss(outputs, label):
        calls.append(1)
        right = PF.cross_entropy(outputs, label, axis=1)
        return right * 1.001 if len(calls) > 4 else right

    report = train(lambda step: 0.1, loss)
    assert report.exit_code == 1
    assert min(d.step for d in report.divergences) > 0


def test_wrong_auxiliary_head_that_is_not_returned():
    class Theirs(tnn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.aux = tnn.Conv2d(3, 4, 1), tnn.Conv2d(3, 4, 1)

        def forward(self, x):
            self.aux(x)
            return self.main(x)

    class Ours(pnn.Layer):
        def __init__(self):
            super().__init__()
            self.main, self.aux = pnn.Conv2D(3, 4, 1), pnn.Conv2D(3, 4, 1)

        def forward(self, x):
            self.aux(x)
            return self.main(x)

    theirs, ours = make_pair(Theirs(), Ours())
    assert align_forward(theirs, ours, [image()]).exit_code == 0
    around(ours.aux, lambda x: x * 1.001)
    assert {d.layer for d in align_forward(theirs, ours, [image()]).divergences} == {"aux"}


def test_halved_input_gradient():
    theirs, ours = pair()
    around(ours.norm, lambda x: x * 0.5 + x.detach() * 0.5)
    report = align_backward(theirs, ours, [image()])
    assert {d.layer for d in report.divergences} == {"norm"}
    assert "0.5 times the reference's" in report.divergences[0].cause
    assert align_forward(theirs, ours, [image()]).exit_code == 0


def test_empty_comparison_could_not_be_checked():
    class Nothing(tnn.Module):
        def forward(self, x):
            return None

    class Neither(pnn.Layer):
        def forward(self, x):
            return None

    assert align_forward(Nothing(), Neither(), [image()]).exit_code == 2
    assert align_data([], []).exit_code == 2
    assert align_metric(lambda *arrays: None, lambda *arrays: None, []).exit_code == 2


def test_one_pixel_in_two_million():
    reference = np.zeros(2_000_000, np.float32)  # their mean differs by less than 1e-6
    port = reference.copy()
    port[1_654_321] = 1.0
    report = align_data([reference], [port])
    assert report.exit_code == 1
    assert report.divergences[0].worst_index == (1_654_321,)


def test_wrong_batchnorm_epsilon_in_one_layer():
    theirs, ours = pair()
    ours.norm._epsilon = 2e-5
    for train_mode in (False, True):
        report = align_forward(theirs, ours, [image()], train=train_mode)
        assert {d.layer for d in report.divergences} == {"norm"}
        assert "epsilon is 2e-05, the reference has 1e-05" in report.divergences[0].cause


def test_batchnorm_momentum_that_is_copied_as_it_stands():
    theirs, ours = pair()  # X2Paddle's
    ours.norm._momentum = 0.1
    report = align_forward(theirs, ours, [image()], train=True)
    assert report.exit_code == 1
    assert (
        "keeps 10 % of the old statistics, the reference's momentum=0.1"
        in report.divergences[0].cause
    )


def test_flipped_channels_and_wrong_logits_behind_a_softmax():
    theirs, ours = pair()
    around(ours.fc, lambda x: x.flip([1]))
    report = align_forward(theirs, ours, [image()])
    assert {d.layer for d in report.divergences} == {"fc"}


def test_code_that_raises_is_blamed_and_the_rest_is_judged():
    theirs, ours = pair()
    around(ours.norm, lambda x: x.reshape([7, 7]))
    around(ours.fc, lambda x: x + 1e-3)
    for report in (
        align_forward(theirs, ours, [image()]),
        align_forward(theirs, ours, [image()], train=True),
    ):
        assert {d.layer for d in report.divergences} == {"norm", "fc"}
        assert "it raises ValueError" in report.divergences[0].cause
    assert align_backward(theirs, ours, [image()]).exit_code == 1


def test_shape_that_stops_the_backward_pass_is_no_pass():
    theirs, ours = pair()
    around(ours.fc, lambda x: x[:1])
    assert align_backward(theirs, ours, [image()]).exit_code == 1
