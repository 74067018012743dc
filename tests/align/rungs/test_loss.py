"""The loss rung: our criteria and users' callables, values and gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
import torch.nn.functional as TF

from align import align_loss
from paddle_impl import losses as paddle_losses
from torch_ref import losses as torch_losses


@pytest.fixture
def stdc_outputs():
    rng = np.random.default_rng(0)
    logits = [rng.standard_normal((2, 19, 32, 48)) * 3 for _ in range(3)]
    detail = rng.standard_normal((2, 1, 4, 6))
    label = rng.integers(0, 19, (2, 32, 48))
    label[0, :5] = 255
    return (*logits, detail), label


def test_stdc_loss_is_aligned(stdc_outputs):
    outputs, label = stdc_outputs
    report = align_loss(torch_losses.StdcLoss(), paddle_losses.StdcLoss(), [outputs, label])
    assert report.exit_code == 0, report.verdict
    exact = [call for call in report.calls if not call.kernels]
    assert max(call.relative_error for call in exact) < 1e-12


@pytest.mark.parametrize("min_kept", [10, 200, 3000])
def test_ohem_is_aligned(stdc_outputs, min_kept):
    outputs, label = stdc_outputs
    theirs = torch_losses.OhemCrossEntropy(min_kept=min_kept)
    ours = paddle_losses.OhemCrossEntropy(min_kept=min_kept)
    report = align_loss(theirs, ours, [outputs[0], label])
    assert report.exit_code == 0, report.verdict


def test_detail_loss_of_two_values_is_aligned(stdc_outputs):
    outputs, label = stdc_outputs
    report = align_loss(torch_losses.DetailLoss(), paddle_losses.DetailLoss(), [outputs[3], label])
    assert report.exit_code == 0, report.verdict
    assert {"loss:0", "loss:1"} <= {call.where for call in report.calls}


FAULTS = {
    "threshold": ({"min_kept": 100}, {"min_kept": 100, "threshold": 0.71}),
    "minimum count": ({"min_kept": 2990}, {"min_kept": 2980}),
    "ignored label": ({"min_kept": 100}, {"min_kept": 100, "ignore_index": 3}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_other_settings_of_ohem_are_found(stdc_outputs, fault):
    outputs, label = stdc_outputs
    label = np.where(label == 255, 0, label)
    logits = outputs[0]
    if fault == "minimum count":  # it counts where most pixels are easy
        logits = logits + 20.0 * (np.arange(19)[None, :, None, None] == label[:, None])
    theirs, ours = FAULTS[fault]
    report = align_loss(
        torch_losses.OhemCrossEntropy(**theirs),
        paddle_losses.OhemCrossEntropy(**ours),
        [logits, label],
    )
    assert report.exit_code == 1


def test_class_axis_of_a_users_callable_is_found():
    rng = np.random.default_rng(0)
    logits, label = rng.standard_normal((2, 4, 4, 4)), rng.integers(0, 4, (2, 4, 4))

    def theirs(outputs, label):
        return TF.cross_entropy(outputs, label)

    def ours(outputs, label):
        return PF.cross_entropy(outputs, label, axis=1)

    assert align_loss(theirs, ours, [logits, label]).exit_code == 0
    wrong = align_loss(theirs, lambda o, y: PF.cross_entropy(o, y), [logits, label])
    assert wrong.exit_code == 1
    assert {divergence.layer for divergence in wrong.divergences} == {""}


def test_gradient_alone_can_differ():
    rng = np.random.default_rng(0)
    logits, label = rng.standard_normal((2, 5)), rng.standard_normal((2, 5))

    def theirs(outputs, label):
        return ((outputs - label) ** 2).mean()

    def ours(outputs, label):
        return ((outputs - label) ** 2).mean() * 0.5 + (
            (outputs - label) ** 2
        ).mean().detach() * 0.5

    report = align_loss(theirs, ours, [logits, label])
    assert {divergence.where.split(":")[0] for divergence in report.divergences} == {"grad_input"}


def test_nan_loss_is_not_a_pass():
    def nan(outputs, label):
        return (outputs * float("nan")).sum()

    assert align_loss(nan, nan, [np.ones((2, 3)), np.ones((2,), np.int64)]).exit_code == 2
