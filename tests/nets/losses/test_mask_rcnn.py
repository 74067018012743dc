"""Mask R-CNN's losses on both sides against their formulas in NumPy, values and gradients."""

import importlib

import numpy as np
import pytest

from common.errors import UserError

TERMS = {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}


def made(side, name):
    room = side.room.__name__
    return getattr(importlib.import_module(f"{room}.losses.detection.mask_rcnn"), name)()


def run(side, name, *arguments):
    """Return the terms as numbers, and the gradients of their sum, zeros for none."""
    tensors = [
        [side.tensor(a) for a in one] if isinstance(one, list) else side.tensor(one)
        for one in arguments
    ]
    found = made(side, name)(*tensors)
    terms = found if isinstance(found, dict) else {"loss": found}
    sum(terms.values()).backward()
    gradients = [
        np.zeros(a.shape) if t.grad is None else side.array(t.grad)
        for t, a in zip(tensors, arguments, strict=True)
        if not isinstance(a, list) and a.dtype.kind == "f"
    ]
    return {key: float(side.array(term)) for key, term in terms.items()}, gradients


def smooth_l1(errors):
    errors = np.abs(errors)
    return np.where(errors < 1 / 9, 4.5 * errors**2, errors - 1 / 18).sum()


def bce(x, taught):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0) - x * taught


def numeric(function, array):
    """Gradient by differences in the middle."""
    found = np.zeros(array.shape)
    for place in np.ndindex(array.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = array.copy()
            moved[place] += step
            ends.append(function(moved))
        found[place] = (ends[0] - ends[1]) / 2e-6
    return found


def anchors(seed=0):
    rng = np.random.default_rng(seed)
    logits, deltas = rng.standard_normal((2, 6)), rng.standard_normal((2, 6, 4)) / 5
    return logits, deltas, rng.standard_normal((3, 4)) / 5


POSITIVES = [np.array([1, 4]), np.array([0])]
NEGATIVES = [np.array([2]), np.array([3, 5])]


def test_anchors(side):
    logits, deltas, moves = anchors()

    def expected(logits, deltas):
        said = np.concatenate(
            [logits[0, [1, 4]], logits[1, [0]], logits[0, [2]], logits[1, [3, 5]]]
        )
        missed = np.concatenate([deltas[0, [1, 4]], deltas[1, [0]]]) - moves
        return {
            "loss_objectness": bce(said, np.array([1, 1, 1, 0, 0, 0])).mean(),
            "loss_rpn_box_reg": smooth_l1(missed) / 6,
        }

    found, (by_logits, by_deltas, _) = run(
        side, "RPNLoss", logits, deltas, POSITIVES, NEGATIVES, moves
    )
    assert found == pytest.approx(expected(logits, deltas), rel=1e-12)
    right = numeric(lambda x: sum(expected(x, deltas).values()), logits)
    np.testing.assert_allclose(by_logits, right, atol=1e-8)
    right = numeric(lambda x: sum(expected(logits, x).values()), deltas)
    np.testing.assert_allclose(by_deltas, right, atol=1e-8)


@pytest.mark.parametrize("negatives", [NEGATIVES, [np.zeros(0, np.int64)] * 2])
def test_without_objects_offsets_learn_nothing_and_all_is_finite(side, negatives):
    logits, deltas, moves = anchors()
    none = [np.zeros(0, np.int64)] * 2
    found, gradients = run(side, "RPNLoss", logits, deltas, none, negatives, moves[:0])
    assert found["loss_rpn_box_reg"] == 0
    assert (found["loss_objectness"] > 0) == (len(negatives[0]) > 0)
    assert not gradients[1].any()
    assert np.isfinite(gradients[0]).all()


def boxes(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.array([2, 0, 1, 0, 2])
    return (
        rng.standard_normal((5, 3)),
        rng.standard_normal((5, 12)) / 5,
        labels,
        (rng.standard_normal((3, 4)) / 5),
    )


def test_boxes(side):
    logits, deltas, labels, moves = boxes()

    def expected(logits, deltas):
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        own = deltas.reshape([5, 3, 4])[[0, 2, 4], [2, 1, 2]]
        return {
            "loss_classifier": -np.log(p[np.arange(5), labels]).mean(),
            "loss_box_reg": smooth_l1(own - moves) / 5,
        }

    found, (by_logits, by_deltas, _) = run(side, "BoxLoss", logits, deltas, labels, moves)
    assert found == pytest.approx(expected(logits, deltas), rel=1e-12)
    right = numeric(lambda x: sum(expected(x, deltas).values()), logits)
    np.testing.assert_allclose(by_logits, right, atol=1e-8)
    right = numeric(lambda x: sum(expected(logits, x).values()), deltas)
    np.testing.assert_allclose(by_deltas, right, atol=1e-8)


def test_a_box_of_background_alone_and_one_that_is_surely_wrong(side):
    logits, deltas, _, moves = boxes()
    found, gradients = run(side, "BoxLoss", logits, deltas, np.zeros(5, np.int64), moves[:0])
    assert found["loss_box_reg"] == 0
    assert not gradients[1].any()
    sure = np.array([[0.0, 100.0, 0.0]])  # Paddle's own cross-entropy stops at 64
    found, _ = run(side, "BoxLoss", sure, deltas[:1], np.zeros(1, np.int64), moves[:0])
    assert found["loss_classifier"] == pytest.approx(100)


def test_masks(side):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((2, 3, 4, 4)), np.array([2, 1])
    masks = rng.random((2, 4, 4))

    def expected(logits):
        return bce(logits[[0, 1], labels], masks).mean()

    found, (by_logits, _) = run(side, "MaskLoss", logits, labels, masks)
    assert found["loss"] == pytest.approx(expected(logits), rel=1e-12)
    np.testing.assert_allclose(by_logits, numeric(expected, logits), atol=1e-8)


def test_the_criterion_sums_what_the_net_returns(side):
    outputs = {name: side.tensor(np.array(float(i))) for i, name in enumerate(sorted(TERMS))}
    criterion = side.build("mask_rcnn")
    assert set(criterion.parts(outputs)) == TERMS
    assert float(side.array(criterion(outputs, None))) == 10.0
    for wrong in ([{"boxes": 0}], {"loss_mask": outputs["loss_mask"]}):
        with pytest.raises(
            UserError, match=r"outputs are (list|loss_mask), expected .* train mode"
        ):
            criterion(wrong, None)
