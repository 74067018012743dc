"""Dice, focal loss, weights and smoothing of both sides, against formulas written here."""

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from tests.nets.losses.criteria import (
    CLASSES,
    VOID,
    assert_twins,
    evaluate,
    make_label,
    make_logits,
    pixel_losses_numpy,
)

WEIGHTS = [0.5, 2.0, 0.0, 1.0, 3.5]


def case(seed=1, classes=CLASSES, absent=None, shape=(2, 7, 9)):
    """Logits and a label in which `absent` does not occur; the second image is mostly void."""
    label = make_label(shape, seed, classes=max(classes, 2))
    label[1, 1:] = VOID
    if absent is not None:
        label[label == absent] = (absent + 1) % classes
    return make_logits(label, 1.0, seed + 1, classes), label


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def through_softmax(probability, slope):
    """Return the gradient of logits from that of their softmax."""
    return probability * (slope - (slope * probability).sum(axis=1, keepdims=True))


def dice_numpy(logits, label, smooth, squared, per_image, classes):
    """One class of one group of pixels at a time: value and gradient."""
    probability, counted = softmax(logits), label != VOID
    slope, rows = np.zeros_like(logits), []
    groups = [[i] for i in range(len(label))] if per_image else [range(len(label))]
    for group in map(list, groups):
        for k in range(logits.shape[1]):
            truth = (label[group] == k).astype(float)
            p = probability[group, k] * counted[group]
            size = (p**2 if squared else p).sum() + truth.sum() + smooth
            top = 2 * (p * truth).sum() + smooth
            slide = -(2 * truth * size - top * (2 * p if squared else 1.0)) / size**2
            if classes == "all" or truth.any():
                rows.append(1 - top / size)
                slope[group, k] = slide * counted[group]
    count = max(len(rows), 1)
    return sum(rows) / count, through_softmax(probability, slope / count)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("classes", ["all", "present"])
def test_dice_and_its_gradient(side, squared, per_image, classes):
    logits, label = case(absent=3)
    options = {"smooth": 0.5, "squared": squared, "per_image": per_image, "classes": classes}
    (value,), ((gradient,),) = evaluate(side, side.build("dice", **options), logits, label)
    expected, slope = dice_numpy(logits, label, **options)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-15)
    absent = gradient[:, 3][label != VOID]
    assert absent.any()  # of its share of the softmax; with "all" it is pushed down, too


def test_cross_entropy_and_dice_are_added_with_their_weights(side):
    logits, label = case()
    options = {"cross_entropy_weight": 0.25, "dice_weight": 2.0}
    criterion = side.build("cross_entropy_dice", **options)
    parts = criterion.parts(side.tensor(logits), side.tensor(label))
    assert list(parts) == ["cross_entropy", "dice"]
    (value,), ((gradient,),) = evaluate(side, criterion, logits, label)
    losses, slope = pixel_losses_numpy(logits, label)
    counted = (label != VOID).sum()
    dice, of_dice = dice_numpy(logits, label, 1.0, False, False, "all")
    assert value == pytest.approx(0.25 * losses.sum() / counted + 2 * dice, rel=1e-12)
    np.testing.assert_allclose(gradient, 0.25 * slope / counted + 2 * of_dice, rtol=0, atol=1e-15)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25, WEIGHTS])
def test_focal_is_the_papers_formula(side, gamma, alpha):
    logits, label = case()
    given = {"weights": alpha} if isinstance(alpha, list) else {"alpha": alpha}
    criterion = side.build("focal", gamma=gamma, **given)
    (value,), ((gradient,),) = evaluate(side, criterion, logits, label)
    probability, counted = softmax(logits), label != VOID
    true = np.where(counted, label, 0)
    p = np.take_along_axis(probability, true[:, None], 1)
    factor = np.full(CLASSES, alpha or 1.0) if not isinstance(alpha, list) else np.array(alpha)
    share = (factor[true] * counted)[:, None] / counted.sum()
    assert value == pytest.approx((-((1 - p) ** gamma) * np.log(p) * share).sum(), rel=1e-12)
    one_hot = np.arange(CLASSES)[None, :, None, None] == true[:, None]
    slope = gamma * p * (1 - p) ** (gamma - 1) * np.log(p) - (1 - p) ** gamma
    np.testing.assert_allclose(gradient, share * slope * (one_hot - probability), atol=1e-15)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_of_a_pixel_that_is_certain_is_finite(side, gamma):
    """(1 - p)^gamma has no slope at p = 1 for gamma below 1, and p rounds to 1 at 40."""
    label = np.array([[[0, 1, VOID]]])
    logits = np.array([[800.0, -800.0, 0.0], [0.0, 0.0, 0.0]])[None, :, None]
    (value,), ((gradient,),) = evaluate(side, side.build("focal", gamma=gamma), logits, label)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert abs(gradient).max() < 1e-100


def test_focal_of_one_channel_is_the_papers_binary_form(side):
    logits, label = case(classes=1)
    criterion = side.build("focal", gamma=2.0, alpha=0.25)
    (value,), _ = evaluate(side, criterion, logits, label)
    p = 1 / (1 + np.exp(-logits[:, 0]))
    pt, alpha = np.where(label == 1, p, 1 - p), np.where(label == 1, 0.25, 0.75)
    counted = label != VOID
    expected = (-alpha * (1 - pt) ** 2 * np.log(pt))[counted].sum() / counted.sum()
    assert value == pytest.approx(expected, rel=1e-12)


def test_dice_of_one_channel_is_that_of_class_1(side):
    logits, label = case(classes=1)
    (value,), ((gradient,),) = evaluate(side, side.build("dice", smooth=1e-3), logits, label)
    p, truth = 1 / (1 + np.exp(-logits[:, 0])), label == 1
    total = p[label != VOID].sum() + truth.sum() + 1e-3
    assert value == pytest.approx(1 - (2 * p[truth].sum() + 1e-3) / total, rel=1e-12)
    assert not gradient[:, 0][label == VOID].any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("name", ["cross_entropy", "auxiliary_cross_entropy"])
def test_weights_and_smoothing_are_torchs(side, name, weights, smoothing):
    torch = pytest.importorskip("torch")
    logits, label = case(absent=3)
    criterion = side.build(name, weights=weights, label_smoothing=smoothing)
    given = logits if name == "cross_entropy" else [logits]
    (value,), ((gradient,),) = evaluate(side, criterion, given, label)
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        theirs,
        torch.tensor(label),
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
        ignore_index=VOID,
        label_smoothing=smoothing,
    )
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=0, atol=1e-15)


ROWS = {
    "dice": {"classes": "present", "squared": True},
    "cross_entropy_dice": {},
    "focal": {"weights": WEIGHTS},
    "lovasz_softmax": {},
    "cross_entropy": {"weights": WEIGHTS, "label_smoothing": 0.1},
}
OF_HEADS = [name for name in ROWS if name != "cross_entropy"]


@pytest.mark.parametrize("name", ROWS)
def test_twins(name):
    assert_twins(name, *case(absent=3), 1e-12, **ROWS[name])


@pytest.mark.parametrize("name", ROWS)
def test_ignored_pixels_only_is_zero_and_a_nan_stays(side, name):
    label = np.full((1, 4, 4), VOID, np.int64)
    logits = make_logits(label, 0, 6)
    options = {**ROWS[name], **({"smooth": 1.0} if "dice" in name else {})}
    (value,), ((gradient,),) = evaluate(side, side.build(name, **options), logits, label)
    if name != "cross_entropy_dice":  # of "all": 1 - smooth / smooth
        assert value == 0.0
    assert abs(value) < 1e-15
    assert not gradient.any()
    label[0, 1, 1] = 1
    logits[0, :, 0, 0] = np.nan  # where nothing counts
    (value,), ((gradient,),) = evaluate(side, side.build(name, **options), logits, label)
    assert np.isfinite(value)
    assert np.isfinite(gradient[0, :, 1, 1]).all()
    logits[0, 0, 1, 1] = np.nan
    (value,), _ = evaluate(side, side.build(name, **options), logits, label)
    assert np.isnan(value)


@pytest.mark.parametrize("name", ROWS)
def test_half_precision_is_widened_first(side, name):
    """A map of more pixels than float16 can count: 65504."""
    label = np.random.default_rng(0).integers(0, 2, (1, 260, 260))
    logits = np.random.default_rng(1).standard_normal((1, CLASSES, 260, 260)).astype(np.float16)
    criterion = side.build(name, **ROWS[name])
    (value,), ((gradient,),) = evaluate(side, criterion, logits, label)
    (wanted,), ((slope,),) = evaluate(side, criterion, logits.astype(np.float32), label)
    assert value == pytest.approx(wanted, rel=1e-6)
    np.testing.assert_allclose(gradient, slope, atol=6e-8)  # float16's smallest step


@pytest.mark.parametrize("name", OF_HEADS)
def test_every_map_of_a_net_counts(side, name):
    logits, label = case()
    small = np.random.default_rng(5).standard_normal((2, CLASSES, 4, 5))
    criterion = side.build(name, aux_weight=0.3, **ROWS[name])
    alone = [evaluate(side, criterion, one, label)[0][0] for one in (logits, small)]
    (value,), gradients = evaluate(side, criterion, [logits, small], label)
    assert value == pytest.approx(alone[0] + 0.3 * alone[1], rel=1e-12)
    assert all(gradient.any() for gradient in gradients[0])
    outputs = {"out": side.tensor(logits), "aux": side.tensor(small)}
    names = list(criterion.parts(outputs, side.tensor(label)))
    count = len(names) // 2
    assert names[count:] == [f"{name}_aux1" for name in names[:count]]


@pytest.mark.parametrize("name", OF_HEADS)
def test_what_is_no_class_map_is_refused(side, name):
    label = side.tensor(np.zeros((2, 6, 8), np.int64))
    maps = [side.tensor(np.zeros((2, channels, 6, 8))) for channels in (5, 1)]
    criterion = side.build(name)
    with pytest.raises(UserError, match=r"several of one C.*loss\.maps=1 takes the first 1 alone"):
        criterion(tuple(maps), label)  # STDC's detail head has one channel
    assert list(side.build(name, maps=1).parts(tuple(maps), label)) == list(
        criterion.parts(maps[0], label)
    )
    with pytest.raises(UserError, match="several of one C"):
        side.build(name, maps=2)(maps[0], label)
    with pytest.raises(UserError, match="several of one C"):
        criterion({"mask": maps[0]}, label)
    strange = np.zeros((2, 6, 8), np.int64)
    strange[0, 0, 0] = 5
    with pytest.raises(UserError, match=r"label holds 5; expected classes 0\.\.4 and 255"):
        criterion(maps[0], side.tensor(strange))


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("dice", {"smooth": 0.0}, "smooth"),
        ("dice", {"classes": "some"}, "all or present"),
        ("cross_entropy_dice", {"dice_weight": -1.0}, "dice_weight"),
        ("focal", {"gamma": -1.0}, "gamma"),
        ("focal", {"alpha": 0.5, "weights": WEIGHTS}, "both"),
        ("focal", {"weights": [0.0, 0.0]}, "weights"),
        ("lovasz_softmax", {"classes": "some"}, "all or present"),
        ("lovasz_softmax", {"aux_weight": -1.0}, "aux_weight"),
        ("cross_entropy", {"weights": [-1.0, 1.0]}, "weights"),
        ("cross_entropy", {"label_smoothing": 1.0}, "label_smoothing"),
    ],
)
def test_settings_out_of_range_are_refused(side, name, options, told):
    with pytest.raises(ConfigError, match=told):
        side.build(name, **options)


def test_weights_of_another_number_are_refused(side):
    logits, label = case()
    with pytest.raises(UserError, match="4 numbers, and the net 5 classes"):
        side.build("cross_entropy", weights=[1.0] * 4)(side.tensor(logits), side.tensor(label))


def test_an_ignored_label_may_be_a_class(side):
    """Data whose void is 0: nothing of it counts, in any term."""
    logits, label = case()
    marked = np.where(label == VOID, 0, label)
    for name in ROWS:
        criterion = side.build(name, **ROWS[name], ignore_index=0)
        (value,), ((gradient,),) = evaluate(side, criterion, logits, marked)
        assert np.isfinite(value)
        at_void = np.broadcast_to((marked == 0)[:, None], gradient.shape)
        assert not gradient[at_void].any(), name
