"""Lovasz-softmax of both sides, against the authors' code written in NumPy, ties among them."""

import numpy as np
import pytest

from tests.nets.losses.criteria import VOID, assert_twins, evaluate
from tests.nets.losses.test_class_maps import case, softmax, through_softmax


def authors_grad(truth):
    """bermanmaxim/LovaszSoftmax, lovasz_grad, in NumPy."""
    total = truth.sum()
    jaccard = 1 - (total - truth.cumsum()) / (total + (1 - truth).cumsum())
    jaccard[1:] -= jaccard[:-1].copy()
    return jaccard


def lovasz_numpy(logits, label, classes="present", per_image=False):
    """The authors' lovasz_softmax_flat, where ties keep the order of the pixels."""
    probability = softmax(logits)
    slope, groups = np.zeros_like(logits), []
    sets = [[i] for i in range(len(label))] if per_image else [list(range(len(label)))]
    for images in sets:
        counted, rows = label[images] != VOID, []
        for k in range(logits.shape[1]):
            truth = (label[images] == k)[counted].astype(float)
            if classes == "present" and not truth.any():
                continue
            p = probability[images, k][counted]
            error = np.abs(truth - p)
            order = np.argsort(-np.round(error, 12), kind="stable")
            grad = authors_grad(truth[order]) if len(order) else np.zeros(0)
            back = np.zeros_like(error)
            back[order] = grad
            rows.append((k, (error * back).sum(), np.where(truth == 1, -back, back)))
        groups.append(sum(value for _, value, _ in rows) / max(len(rows), 1))
        for k, _, back in rows:
            part = slope[images, k]
            part[counted] = back / len(rows) / len(sets)
            slope[images, k] = part
    return np.mean(groups), through_softmax(probability, slope)


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("per_image", [False, True])
def test_lovasz_and_its_gradient_are_the_authors(side, classes, per_image):
    logits, label = case(absent=3)
    criterion = side.build("lovasz_softmax", classes=classes, per_image=per_image)
    (value,), ((gradient,),) = evaluate(side, criterion, logits, label)
    expected, slope = lovasz_numpy(logits, label, classes, per_image)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-15)


def tied_case(kind):
    """Pixels of few kinds, so that most errors tie, in an order that no sort keeps by chance."""
    rng = np.random.default_rng(3)
    label = rng.integers(0, 3, (2, 12, 16))
    label[rng.random(label.shape) < 0.2] = VOID
    kinds = rng.standard_normal((4, 3)) if kind != "flat" else np.zeros((4, 3))
    logits = kinds[rng.integers(0, 4, label.shape)].transpose(0, 3, 1, 2).copy()
    if kind == "certain":
        logits *= 200  # probabilities of exactly 0 and 1
    if kind == "nearly":
        logits += rng.choice([0.0, 1e-16, -1e-16], logits.shape)  # a unit in the last place
    return logits, label


@pytest.mark.parametrize("kind", ["few", "flat", "certain", "nearly"])
def test_errors_that_tie_keep_the_order_of_the_pixels(side, kind):
    """Torch's sort and Paddle's differ there, and so would gradients."""
    logits, label = tied_case(kind)
    (value,), ((gradient,),) = evaluate(side, side.build("lovasz_softmax"), logits, label)
    expected, slope = lovasz_numpy(logits, label)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", ["few", "flat", "certain", "nearly"])
def test_twins_where_errors_tie(kind):
    assert_twins("lovasz_softmax", *tied_case(kind), 1e-12)


def test_the_order_of_ties_changes_the_gradient_and_not_the_value():
    """So a port that sorts as its framework likes is found by gradients alone."""
    logits, label = tied_case("few")
    mirrored = logits[:, :, ::-1, ::-1], label[:, ::-1, ::-1]
    value, slope = lovasz_numpy(logits, label)
    other, turned = lovasz_numpy(*mirrored)
    assert value == pytest.approx(other, rel=1e-12)
    assert np.abs(slope - turned[:, :, ::-1, ::-1]).max() > 5e-5


def test_one_channel_is_class_1_alone(side):
    logits, label = case(classes=1)
    (value,), _ = evaluate(side, side.build("lovasz_softmax"), logits, label)
    counted = label != VOID
    truth = (label == 1)[counted].astype(float)
    error = np.abs(truth - (1 / (1 + np.exp(-logits[:, 0])))[counted])
    order = np.argsort(-error, kind="stable")
    assert value == pytest.approx((error[order] * authors_grad(truth[order])).sum(), rel=1e-12)


def test_a_large_map_in_float32_keeps_its_small_steps(side):
    """Neighbouring Jaccard indices of a large map differ by less than float32 tells apart."""
    rng = np.random.default_rng(0)
    label = (rng.random((1, 200, 300)) < 0.5).astype(np.int64)
    logits = rng.standard_normal((1, 2, 200, 300))
    criterion = side.build("lovasz_softmax")
    exact = evaluate(side, criterion, logits.astype(np.float32).astype(np.float64), label)
    short = evaluate(side, criterion, logits.astype(np.float32), label)
    assert short[0][0] == pytest.approx(exact[0][0], rel=1e-5)
    worst = np.abs(short[1][0][0] - exact[1][0][0]).max() / np.abs(exact[1][0][0]).max()
    assert worst < 1e-3, worst
