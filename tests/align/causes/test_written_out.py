"""Functions of Paddle that compute otherwise than torch's are told as causes where they are it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
import torch.nn.functional as TF

from align import align_forward, align_loss
from tests.align.function_nets import Port, Reference

LABEL = np.random.default_rng(0).integers(0, 3, (2, 6, 8))
LABEL[0, 0] = 255


def logits(reach):
    return np.random.default_rng(1).standard_normal((2, 3, 6, 8)) * reach


def ohem_of(framework, losses, kept):
    hard = losses[losses > 0.35]
    return (hard if hard.shape[0] >= kept else framework.topk(losses, kept)[0]).mean()


def theirs(outputs, label):
    losses = [TF.cross_entropy(o, label, ignore_index=255, reduction="none") for o in outputs]
    kept = label[label != 255].numel() // 16
    return sum(ohem_of(torch, loss.flatten(), kept) for loss in losses)


def ours(outputs, label):
    settings = {"ignore_index": 255, "reduction": "none", "axis": 1}
    losses = [PF.cross_entropy(o, label, **settings) for o in outputs]
    kept = int((label != 255).sum()) // 16  # where the two codes part already
    return sum(ohem_of(paddle, loss.flatten(), kept) for loss in losses)


def test_a_loss_that_stops_at_64_is_told_with_its_remedy():
    outputs = (logits(60.0), logits(1.0), logits(70.0))
    report = align_loss(theirs, ours, [outputs, LABEL])
    causes = {d.where: str(d.cause) for d in report.divergences}
    assert "further than 64 below" in causes["loss:0"]
    assert "logsumexp(logits) - logits[label]" in causes["loss:0"]
    assert "64" in report.divergences[0].cause.chinese


def test_the_same_loss_of_small_logits_is_aligned_and_another_fault_is_not_called_so():
    outputs = (logits(1.0), logits(2.0))
    assert align_loss(theirs, ours, [outputs, LABEL]).exit_code == 0

    def wrong(outputs, label):
        return 1.01 * ours(outputs, label)

    report = align_loss(theirs, wrong, [(logits(60.0), logits(1.0)), LABEL])
    assert all("64 below" not in str(d.cause) for d in report.divergences)


@pytest.mark.parametrize("ignored", [-1, -100])
@pytest.mark.parametrize("as_module", [False, True])
def test_a_mean_that_is_divided_by_ignored_pixels_too_is_told_so(ignored, as_module):
    label = np.where(LABEL == 255, ignored, LABEL)
    settings = {"ignore_index": ignored, "axis": 1}
    if ignored == -100:
        settings.pop("ignore_index")  # the default of both
    if as_module:
        reference = torch.nn.CrossEntropyLoss(ignore_index=ignored)
        port = paddle.nn.CrossEntropyLoss(**settings)
    else:
        reference, port = (
            lambda o, y: TF.cross_entropy(o, y, ignore_index=ignored),
            lambda o, y: PF.cross_entropy(o, y, **settings),
        )
    report = align_loss(reference, port, [logits(1.0), label])
    if paddle.__version__ < "3":  # it leaves them out, as torch does
        assert report.exit_code == 0
        return
    assert report.exit_code == 1
    causes = {str(d.cause) for d in report.divergences}
    assert all(f"where ignore_index is below 0 ({ignored})" in cause for cause in causes), causes
    nothing_ignored = align_loss(reference, port, [logits(1.0), np.where(label < 0, 0, label)])
    assert nothing_ignored.exit_code == 0


ONE = {"size": (1, 7), "mode": "bilinear", "align_corners": False}
CASES = {
    "log_softmax": (
        logits(60.0),
        lambda x: TF.log_softmax(x, 1),
        lambda x: PF.log_softmax(x, 1),
        "log_softmax on the CPU",
    ),
    "smooth_l1": (
        logits(1.0),
        lambda x: TF.smooth_l1_loss(x, 0 * x, beta=0.5),
        lambda x: PF.smooth_l1_loss(x, 0 * x, delta=0.5),
        "divided by delta=0.5",
    ),
    "median": (
        logits(1.0),
        lambda x: torch.median(x, 3)[0],
        lambda x: paddle.median(x, 3),
        "mean of two values",
    ),
    "one row": (
        logits(1.0),
        lambda x: TF.interpolate(x, **ONE),
        lambda x: PF.interpolate(x, **ONE),
        "the middle of the input",
    ),
    "pad": (
        logits(1.0),
        lambda x: TF.pad(x, [0, 1, 2, 0, 0, 0, 0, 0]),
        lambda x: PF.pad(x, [0, 1, 2, 0, 0, 0, 0, 0]),
        "begins with the first axis",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_paddle_computes_otherwise_is_told(name):
    x, of_torch, of_paddle, words = CASES[name]
    report = align_forward(Reference(of_torch), Port(lambda x: of_paddle(x)), [x])
    assert report.exit_code == 1
    assert any(words in str(d.cause) for d in report.divergences), report.divergences
