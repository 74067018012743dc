"""Discrete steps of strangers' nets: ties are noise, anything else is found at its place.

Detectors are those of `tests.align.detectors`. Sorts and comparisons alone are nets of a function.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_forward
from tests.align.detectors import detectors, images, paddle_nms, targets, torch_nms
from tests.align.function_nets import Port, Reference

FLAT = [np.full((3, 32, 24), 0.5), np.full((3, 20, 32), -0.3)]  # all places of a map tie
TIED = np.array([[0.3, 0.7, 0.7, 0.1, 0.7, 0.2]])


@pytest.fixture(autouse=True)
def _no_causes(monkeypatch):
    """Seek no causes: what is looked at is found without."""
    monkeypatch.setattr("align.causes.budget.REPLAYS", 0)


def judged(reference, port, *inputs):
    return align_forward(Reference(reference), Port(port), inputs)


def of_choices(report):
    return [call for call in report.calls if call.where.startswith("choice")]


def said(report):
    return " ".join(str(call.cause) for call in report.calls if call.cause)


@pytest.mark.parametrize("inputs", [images(), FLAT], ids=["images", "flat"])
@pytest.mark.parametrize("fault", ["", "nudged"])
def test_a_right_port_is_aligned_where_scores_tie_too(fault, inputs):
    report = align_forward(*detectors(fault), [inputs])
    assert report.exit_code == 0, report.verdict
    if fault and inputs is FLAT:
        (first, *_) = of_choices(report)
        assert (first.layer, first.verdict) == ("rpn", "noise")
        assert "differ by ties within rounding; the first, [" in str(first.cause)
        assert any("ties within rounding" in note for note in report.notes)


@pytest.mark.prove
@pytest.mark.parametrize("fault", ["", "nudged"])
def test_a_right_port_is_aligned_in_train_mode_and_backward(fault):
    given = [FLAT if fault else images(), targets()]
    assert align_forward(*detectors(fault), given, train=True).exit_code == 0
    assert align_backward(*detectors(fault), given).exit_code == 0


@pytest.mark.parametrize(
    ("fault", "layer", "words"),
    [
        (
            "overlap",
            "rpn",
            "it asks > 0.8 of the same values of which the reference asks it of 0.5",
        ),
        pytest.param("all levels", "rpn", "is not among", marks=pytest.mark.prove),
        pytest.param(
            "one less",
            "rpn",
            "topk takes 7 of the same scores, the reference 8",
            marks=pytest.mark.prove,
        ),
        pytest.param("box weight", "rpn", "", marks=pytest.mark.prove),
        pytest.param("padded", "rpn", "", marks=pytest.mark.prove),
        pytest.param("swapped", "rpn", "", marks=pytest.mark.prove),
        ("score", "roi_heads", "it asks > 0.4 of the same values"),
        pytest.param("label", "roi_heads", "1 is 0", marks=pytest.mark.prove),
    ],
)
def test_a_fault_of_a_detector_is_found_at_its_place(fault, layer, words):
    report = align_forward(*detectors(fault), [images()])
    assert report.exit_code == 1, report.verdict
    assert {found.layer for found in report.divergences} == {layer}
    assert words in said(report)


@pytest.mark.prove
def test_a_fault_of_the_matching_is_found_in_train_mode_and_backward():
    for verb in (align_forward, align_backward):
        report = verb(*detectors("matched"), [images(), targets()], train=True)
        assert {found.layer for found in report.divergences} == {"roi_heads"}


def test_a_label_off_by_one_is_found_where_all_scores_tie():
    report = align_forward(*detectors("label"), [FLAT])
    assert {found.where for found in report.divergences} == {"output:1", "output:4"}


def test_a_choice_that_nobody_sees_is_could_not_check_where_it_ties():
    report = align_forward(*detectors("unseen"), [FLAT])
    assert report.exit_code == 2
    assert "the step that chooses is not seen" in said(report)


@pytest.mark.parametrize(
    ("reference", "port"),
    [
        (lambda x: x.argsort(descending=True), lambda x: (x + 0.0).argsort(descending=True)),
        (lambda x: x.topk(3).indices, lambda x: x.topk(3)[1]),
        (lambda x: x.topk(3).indices, lambda x: x.argsort(descending=True)[:, :3]),
        (lambda x: x.sort(descending=True).indices[:, :4], lambda x: x.topk(4)[1]),
        (lambda x: x.argmax(1), lambda x: (x * (1 + paddle.arange(6) * 2e-16)).argmax(1)),
        (lambda x: x.max(1).indices, lambda x: (x * (1 + paddle.arange(6) * 2e-16)).argmax(1)),
        (lambda x: x > x[:, 1:2], lambda x: x * (1 + 3e-16) > x[:, 1:2]),
        (lambda x: ~(x <= x[:, 1:2]), lambda x: x[:, 1:2] < x * (1 + 3e-16)),
    ],
)
def test_ties_within_rounding_are_no_fault(reference, port):
    report = judged(reference, port, TIED)
    assert report.exit_code == 0, said(report)


@pytest.mark.parametrize(
    "port",
    [
        lambda x: (x >= 0.7).astype("float64") * x,
        lambda x: (~(x < 0.7)).astype("float64") * x,
    ],
)
def test_more_than_is_not_at_least(port):
    report = judged(lambda x: (x > 0.7).double() * x, port, TIED)
    (found,) = report.divergences
    assert found.where == "choice:0"
    assert "equal to the bit on both sides" in str(found.cause)


def test_more_than_is_not_at_least_of_equal_infinities():
    least = float("-inf")
    report = judged(
        lambda x: (x > least).double() + x.exp(),
        lambda x: (x >= least).astype("float64") + x.exp(),
        np.where(TIED < 0.25, -np.inf, TIED),
    )
    (found,) = report.divergences
    assert found.where == "choice:0"
    assert "equal to the bit on both sides" in str(found.cause)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.0 + 3e-16, 0), (-1.0, 1)])
def test_rounding_of_a_fill_explains_no_other_score(factor, code):
    fill = float(np.finfo(np.float64).min)
    report = judged(
        lambda x: x.masked_fill(x == 0.3, fill).topk(3).indices.double(),
        lambda x: paddle.where(x == 0.3, fill, x * factor).topk(3)[1].astype("float64"),
        np.array([[0.3, 0.7, 0.6, 0.1, 0.5, 0.2]]),
    )
    assert report.exit_code == code, report.verdict


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (-1.0, 1)])
def test_a_fill_that_another_module_made_explains_no_other_score(factor, code):
    def filled(x):
        return x * torch.where(x == 0.3, -1e30, 1.0)

    def chosen(x):
        return paddle.where(x < -1e20, x, x * factor).topk(3)[1].astype("float64")

    report = align_forward(
        torch.nn.Sequential(Reference(filled), Reference(lambda x: x.topk(3).indices.double())),
        paddle.nn.Sequential(
            Port(lambda x: x * paddle.where(x == 0.3, paddle.to_tensor(-1e30, "float64"), 1.0)),
            Port(chosen),
        ),
        [np.array([[0.3, 0.7, 0.6, 0.1, 0.5, 0.2]])],
    )
    assert report.exit_code == code, report.verdict


def test_suppression_at_exactly_the_threshold_is_found_once():
    boxes = np.array([[0.0, 0, 8, 8], [0, 0, 8, 4], [20, 20, 30, 30]])
    scores = np.array([0.9, 0.8, 0.7])

    def port(fault):
        return lambda boxes, scores: boxes[paddle_nms(boxes, scores, 0.5, fault)]

    reference = Two(lambda boxes, scores: boxes[torch_nms(boxes, scores, 0.5)])
    assert align_forward(reference, TwoPort(port("")), [boxes, scores]).exit_code == 0
    report = align_forward(reference, TwoPort(port("equal")), [boxes, scores])
    (found,) = report.divergences
    assert "0.5 against 0.5, equal to the bit" in str(found.cause)


class Two(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, boxes, scores):
        return self.function(boxes, scores)


class TwoPort(paddle.nn.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, boxes, scores):
        return self.function(boxes, scores)


def test_a_farther_gap_than_rounding_explains_is_no_tie():
    def port(x):
        return x.argsort(descending=True)[:, [1, 0, 2, 3, 4, 5]]

    report = judged(
        lambda x: x.argsort(descending=True), port, np.array([[0.3, 0.5, 0.4, 0.1, 0, 1]])
    )
    assert report.exit_code == 1
    scores = np.array([[0.3, 0.7, 0.7 + 1e-9, 0.1]])
    nearly = judged(
        lambda x: x.argsort(descending=True),
        lambda x: (x - paddle.to_tensor([[0.0, 0.0, 2e-9, 0.0]], "float64")).argsort(
            descending=True
        ),
        scores,
    )
    assert nearly.exit_code == 1


def test_no_box_on_either_side_is_nothing_compared():
    reference, port = detectors()
    for net in (reference, port):
        net.roi_heads.detect = lambda logits, deltas, boxes, size: {"boxes": boxes[:0]}
    report = align_forward(reference, port, [images()])
    assert report.exit_code == 2
    assert "empty" in said(report)


def test_another_threshold_that_these_inputs_do_not_show_is_could_not_check():
    report = judged(
        lambda x: (x > 0.5).double() * x, lambda x: (x > 0.6).astype("float64") * x, TIED
    )
    assert report.exit_code == 2
    assert "it asks > 0.6 of the same values of which the reference asks it of 0.5" in said(report)


def test_another_threshold_is_told_where_all_values_are_zero():
    report = judged(
        lambda x: (x.relu() > 0.5).double() * x,
        lambda x: (paddle.nn.functional.relu(x) > 0).astype("float64") * x,
        -TIED,
    )
    assert report.exit_code == 2
    assert "it asks > 0 of the same values of which the reference asks it of 0.5" in said(report)


@pytest.mark.parametrize(("limit", "code"), [("MOST_CHOICES", 2), ("MOST_VALUES", 0), ("", 0)])
def test_steps_beyond_what_is_kept_are_told(limit, code, monkeypatch):
    """Too many could not be checked; of large ones what comes of them was compared."""
    if limit:
        monkeypatch.setattr(f"align.record.choices.choices_torch.{limit}", 1)
    values = np.random.default_rng(0).normal(size=(2, 5))
    report = judged(
        lambda x: torch.where(x > 0.1, x, torch.sort(x, dim=1)[0]),
        lambda x: paddle.where(x > 0.1, x, paddle.sort(x, axis=1)),
        values,
    )
    assert report.exit_code == code
    large = [note for note in report.notes if note.kind == "choices_large"]
    assert len(large) == (limit == "MOST_VALUES")
    told = "more than 20000 discrete steps" in said(report)
    assert told == (limit == "MOST_CHOICES")
    if told:
        (left,) = (call for call in report.calls if call.verdict == "unchecked")
        assert (left.layer, left.where) == ("", "choice:20000")
