"""Targets that are floating, several or nested: cast, never moved nor differentiated."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
import torch.nn.functional as TF
from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_loss, align_training, force_trace, record_trace
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import UserError


def pair():
    theirs, ours = tnn.Conv2d(3, 2, 3, padding=1), pnn.Conv2D(3, 2, 3, padding=1)
    fill_port(LiveReference(theirs), ours)
    return theirs, ours


RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((2, 3, 5, 5))
OUTPUT = RNG.standard_normal((2, 2, 5, 5))
MASK = RNG.integers(0, 2, OUTPUT.shape).astype("float32")
SOFT = RNG.random(OUTPUT.shape)


def bce(out, mask):
    return TF.binary_cross_entropy(torch.sigmoid(out), mask)


def bce_paddle(out, mask):
    return PF.binary_cross_entropy(PF.sigmoid(out), mask)


def bce_of_another_sign(out, mask):
    return PF.binary_cross_entropy(PF.sigmoid(-out), mask)


def regression(out, depth):
    valid = (depth != -1).to(out.dtype)
    return ((out - depth) ** 2 * valid).sum() / valid.sum()


def regression_paddle(out, depth):
    valid = (depth != -1).astype(out.dtype)
    return ((out - depth) ** 2 * valid).sum() / valid.sum()


def regression_with_void(out, depth):
    return ((out - depth) ** 2).mean()


def soft(out, teacher):
    return TF.kl_div(TF.log_softmax(out, 1), torch.softmax(teacher, 1), reduction="batchmean")


def soft_paddle(out, teacher):
    return PF.kl_div(PF.log_softmax(out, 1), PF.softmax(teacher, 1), reduction="batchmean")


def soft_per_value(out, teacher):
    return PF.kl_div(PF.log_softmax(out, 1), PF.softmax(teacher, 1), reduction="mean")


DEPTH = np.where(MASK > 0, -1.0, 3.0 + SOFT)
LOSSES = {
    "masks": (MASK, bce, bce_paddle, bce_of_another_sign),
    "soft labels": (SOFT, bce, bce_paddle, bce_of_another_sign),
    "depth with a void": (DEPTH, regression, regression_paddle, regression_with_void),
    "teacher": (OUTPUT[::-1].copy(), soft, soft_paddle, soft_per_value),
}


def rungs(target, theirs, ours, folder):
    """Climb every rung that takes a loss; return its reports by name."""
    batch = [IMAGE, target]
    record_trace(pair()[0], batch, folder / "trace", train=True, backward=True, torch_loss=theirs)
    return {
        "loss": align_loss(theirs, ours, [OUTPUT, target]),
        "backward": align_backward(*pair(), batch, theirs, ours),
        "training": align_training(
            *pair(),
            [batch],
            theirs,
            ours,
            lambda held: torch.optim.SGD(held, 0.1),
            lambda held: paddle.optimizer.SGD(0.1, parameters=held),
        ),
        "stored": force_trace(pair()[1], folder / "trace", loss=ours),
    }


@pytest.mark.parametrize("kind", LOSSES)
def test_a_floating_target_is_taken_on_every_rung(kind, tmp_path):
    target, theirs, ours, _ = LOSSES[kind]
    for name, report in rungs(target, theirs, ours, tmp_path).items():
        assert report.exit_code == 0, (name, report.verdict)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_wrong_loss_of_a_floating_target_is_found(kind, tmp_path):
    target, theirs, _, wrong = LOSSES[kind]
    for name, report in rungs(target, theirs, wrong, tmp_path).items():
        assert report.exit_code == 1, (name, report.verdict)
        blamed = {divergence.layer for divergence in report.divergences}
        assert ("" if name == "loss" else "(loss)") in blamed


def test_a_probability_of_one_is_not_moved_above_it():
    certain = np.where(MASK > 0, 1.0, SOFT)
    modules = tnn.BCELoss(), pnn.BCELoss()
    assert align_loss(*modules, [certain, MASK]).exit_code in (0, 1)  # judged: torch takes it


class Several(tnn.Module):
    def forward(self, out, target):
        (first, _), boxes = target["masks"], target["boxes"]
        return bce(out, first) + (out.mean((2, 3)) - boxes[0]).abs().sum()


class SeveralPaddle(pnn.Layer):
    def __init__(self, other=0):
        super().__init__()
        self.other = other

    def forward(self, out, target):
        first, boxes = target["masks"][self.other], target["boxes"]
        return bce_paddle(out, first) + (out.mean([2, 3]) - boxes[0]).abs().sum()


NESTED = {"masks": (MASK, 1 - MASK), "boxes": [RNG.random((2, 2)).astype("float32")], "size": 5}


def test_a_nested_target_is_passed_as_it_is_and_cast(tmp_path):
    for name, report in rungs(NESTED, Several(), SeveralPaddle(), tmp_path).items():
        assert report.exit_code == 0, (name, report.verdict)


def test_another_part_of_a_nested_target_is_found(tmp_path):
    report = align_backward(*pair(), [IMAGE, NESTED], Several(), SeveralPaddle(1))
    assert {divergence.layer for divergence in report.divergences} == {"(loss)"}


def test_numbers_in_a_list_are_one_target():
    def cross_entropy(out, label):
        return TF.cross_entropy(out.mean((2, 3)), label)

    def ours(out, label):
        return PF.cross_entropy(out.mean([2, 3]), label)

    assert align_backward(*pair(), [IMAGE, [0, 1]], cross_entropy, ours).exit_code == 0


def with_decay(out, label, net):
    return ((out - label) ** 2).mean() + sum((held**2).sum() for held in net.parameters())


def with_more_decay(out, label, net):
    return ((out - label) ** 2).mean() + sum(1.01 * (held**2).sum() for held in net.parameters())


def consistent(out, label, *, net, inputs):
    return ((out - net(inputs * 0.5)) ** 2).mean() + ((out - label) ** 2).mean()


def less_consistent(out, label, *, net, inputs):
    return ((out - net(inputs * 0.6)) ** 2).mean() + ((out - label) ** 2).mean()


ASKING = {"net": (with_decay, with_more_decay), "both": (consistent, less_consistent)}


@pytest.mark.parametrize("kind", ASKING)
def test_a_loss_gets_the_net_and_its_inputs_where_it_asks(kind):
    right, wrong = ASKING[kind]
    assert align_backward(*pair(), [IMAGE, OUTPUT], right, right).exit_code == 0
    assert align_backward(*pair(), [IMAGE, OUTPUT], right, wrong).exit_code == 1


def test_a_loss_that_asks_for_the_net_is_not_judged_alone():
    with pytest.raises(UserError, match="asks for net"):
        align_loss(with_decay, with_decay, [OUTPUT, OUTPUT])


def test_a_loss_that_differentiates_is_refused_in_words_where_nets_cannot_run_freely(tmp_path):
    def penalty(out, label):
        (slope,) = torch.autograd.grad((out**2).sum(), out, create_graph=True)
        return ((out - label) ** 2).mean() + (slope**2).sum()

    words = r"the reference's loss .*differentiates the net.*in penalty\), as a gradient penalty"
    with pytest.raises(UserError, match=words):
        align_loss(penalty, penalty, [OUTPUT, OUTPUT])
    recording = {"train": True, "backward": True, "torch_loss": penalty}
    with pytest.raises(UserError, match=words):
        record_trace(pair()[0], [IMAGE, OUTPUT], tmp_path / "trace", **recording)


class Widths(tnn.Module):
    """Takes what stands in a target at its word: shares of one, boxes with a width."""

    def forward(self, out, target):
        boxes, shares, index = target["boxes"], target["shares"], target["index"]
        assert torch.equal(boxes, boxes.detach().round(decimals=9)), "a box was moved"
        width = boxes[:, 2] - boxes[:, 0]
        assert (width >= 0).all(), "a box ends before it begins"
        assert (shares.sum(1) == 1).all(), "shares are not of one"
        assert (index.long() == index).all(), "a class was moved"
        mean = out.mean((2, 3))
        return ((mean - boxes[:, :2]) ** 2).mean() + (shares[:, :2] * mean).sum() + width.sum()


class PaddleWidths(pnn.Layer):
    def __init__(self, wrong=False):
        super().__init__()
        self.wrong = wrong

    def forward(self, out, target):
        boxes, shares = target["boxes"], target["shares"]
        mean = out.mean([2, 3])
        width = (boxes[:, 2] - boxes[:, 0]).sum()
        first = boxes[:, 1:3] if self.wrong else boxes[:, :2]
        return ((mean - first) ** 2).mean() + (shares[:, :2] * mean).sum() + width


DOMAIN = {
    "boxes": np.array([[12.7, 3.3, 12.7, 9.1], [0.1, 0.2, 0.1, 0.7]]),
    "shares": np.array([[0.3, 0.2, 0.5], [0.1, 0.7, 0.2]]),
    "index": np.array([3.0, 255.0]),
}


@pytest.mark.parametrize("wrong", [False, True])
def test_no_target_is_moved_out_of_its_domain(wrong, tmp_path):
    for name, report in rungs(DOMAIN, Widths(), PaddleWidths(wrong), tmp_path).items():
        assert report.exit_code == int(wrong), (name, report.verdict)
