"""The losses of volumes against their formulas, aligned, and ports with another one."""

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from tests.nets.losses.criteria import assert_twins

SHAPE = (2, 3, 2, 3, 4)
CLASS_WEIGHTS = [0.5, 1.0, 2.0]
MAPS = {
    "bce": {"kind": "BCEWithLogitsLoss"},
    "weighted bce": {"kind": "BCEWithLogitsLoss", "pos_weight": 3.0},
    "bce dice": {"kind": "BCEDiceLoss", "alpha": 0.5},
    "dice": {"kind": "DiceLoss"},
    "weighted dice": {"kind": "DiceLoss", "weight": CLASS_WEIGHTS, "normalization": "softmax"},
    "plain dice": {"kind": "DiceLoss", "normalization": "none"},
    "generalized dice": {"kind": "GeneralizedDiceLoss", "normalization": "softmax"},
    "mse": {"kind": "MSELoss"},
    "l1": {"kind": "L1Loss"},
    "smooth l1": {"kind": "SmoothL1Loss"},
}
LABELS = {
    "cross-entropy": {"kind": "CrossEntropyLoss"},
    "weighted mean": {"kind": "CrossEntropyLoss", "weight": CLASS_WEIGHTS},
    "weighted cross-entropy": {"kind": "WeightedCrossEntropyLoss"},
}


def maps(seed=0, channels=3, void=None):
    """Logits and masks; some voxels of `void`."""
    rng = np.random.default_rng(seed)
    shape = (SHAPE[0], channels, *SHAPE[2:])
    target = rng.integers(0, 2, shape).astype(float)
    if void is not None:
        target[rng.random(shape) < 0.3] = void
    return rng.standard_normal(shape) * 2, target


def labels(seed=0, void=None):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, (SHAPE[0], *SHAPE[2:]))
    if void is not None:
        label[rng.random(label.shape) < 0.3] = void
    return rng.standard_normal(SHAPE) * 2, label


def expected_maps(logits, target, kind, void=None, **options):
    """pytorch3dunet/unet3d/losses.py:12-33, 53-63, 139-187, on arrays."""
    if void is not None:
        logits, target = logits * (target != void), target * (target != void)
    softplus = np.log1p(np.exp(logits))
    bce = options.get("pos_weight", 1.0) * target * (softplus - logits) + (1 - target) * softplus
    probability = normalized(logits, options.get("normalization", "sigmoid"))
    p, t = (np.moveaxis(a, 1, 0).reshape(a.shape[1], -1) for a in (probability, target))
    overlap = (p * t).sum(1) * np.asarray(options.get("weight", 1.0))
    dice = 1 - (2 * overlap / np.maximum((p * p).sum(1) + (t * t).sum(1), 1e-6)).mean()
    error = np.abs(logits - target)
    return {
        "BCEWithLogitsLoss": bce.mean(),
        "BCEDiceLoss": bce.mean() + options.get("alpha", 1.0) * dice,
        "DiceLoss": dice,
        "GeneralizedDiceLoss": generalized(p, t),
        "MSELoss": (error**2).mean(),
        "L1Loss": error.mean(),
        "SmoothL1Loss": np.where(error < 1, error**2 / 2, error - 0.5).mean(),
    }[kind]


def normalized(logits, normalization):
    if normalization == "sigmoid":
        return 1 / (1 + np.exp(-logits))
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return softmax if normalization == "softmax" else logits


def generalized(p, t):
    if len(p) == 1:
        p, t = np.concatenate([p, 1 - p]), np.concatenate([t, 1 - t])
    weight = 1 / np.maximum(t.sum(1) ** 2, 1e-6)
    size = np.maximum(weight * (p + t).sum(1), 1e-6)
    return 1 - 2 * (weight * (p * t).sum(1)).sum() / size.sum()


def expected_labels(logits, label, kind, void=-100, weight=(1.0, 1.0, 1.0)):
    """losses.py:227-244: the mean of torch's cross-entropy, weighted by the labels' classes."""
    probability = normalized(logits, "softmax")
    if kind == "WeightedCrossEntropyLoss":
        flat = np.moveaxis(probability, 1, 0).reshape(3, -1)
        weight = (1 - flat).sum(1) / flat.sum(1)
    counted = label != void
    true = np.where(counted, label, 0)
    losses = -np.log(np.take_along_axis(probability, true[:, None], 1)[:, 0])
    weights = np.asarray(weight)[true] * counted
    return (losses * weights).sum() / weights.sum()


def value(side, logits, target, **settings):
    loss = side.build("volume", **settings)(side.tensor(logits), side.tensor(target))
    return float(side.array(loss))


@pytest.mark.parametrize("void", [None, -1])
@pytest.mark.parametrize("name", MAPS)
def test_losses_of_maps_are_the_formulas(side, name, void):
    logits, target = maps(void=void)
    found = value(side, logits, target, **MAPS[name], ignore_index=void)
    assert found == pytest.approx(expected_maps(logits, target, void=void, **MAPS[name]), rel=1e-12)


@pytest.mark.parametrize("void", [None, 2, -1])
@pytest.mark.parametrize("name", LABELS)
def test_losses_of_labels_are_the_formulas(side, name, void):
    logits, label = labels(void=-100 if void is None else void)
    found = value(side, logits, label, **LABELS[name], ignore_index=void)
    wanted = expected_labels(logits, label, void=-100 if void is None else void, **LABELS[name])
    assert found == pytest.approx(wanted, rel=1e-12)


def test_golden_numbers(side):
    """Four voxels of one channel, two of them 1; logits 0 make 1/2 of each."""
    logits, target = np.zeros((1, 1, 1, 2, 2)), np.array([1.0, 1, 0, 0]).reshape(1, 1, 1, 2, 2)
    both = {"bce": np.log(2), "dice": 2 * (1 - 2 / 3)}
    tensors = side.tensor(logits), side.tensor(target)
    found = side.build("volume", kind="BCEDiceLoss", alpha=2.0).parts(*tensors)
    assert {name: float(side.array(term)) for name, term in found.items()} == pytest.approx(both)
    # of foreground and background alike: 2 (1/4 + 1/4) / (1 + 1) once divided by 2^2
    assert value(side, logits, target, kind="GeneralizedDiceLoss") == pytest.approx(0.5)
    # the weight is of the numerator alone, so that the loss falls below 0
    assert value(side, logits, target, kind="DiceLoss", weight=[3.0]) == pytest.approx(-1.0)
    # ignored voxels have no error and are among those that the mean divides by
    target[..., 0] = 7.0
    assert value(side, logits + 5, target, kind="L1Loss", ignore_index=7) == pytest.approx(9 / 4)


def test_one_channel_of_generalized_dice_has_its_background_beside_it(side):
    logits, target = maps(1, channels=1)
    found = value(side, logits, target, kind="GeneralizedDiceLoss")
    wanted = expected_maps(logits, target, "GeneralizedDiceLoss")
    assert found == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("name", MAPS | LABELS)
def test_gradients_are_equal_on_both_sides(name):
    case = maps(void=-1) if name in MAPS else labels(void=-1)
    assert_twins("volume", *case, 1e-12, **(MAPS | LABELS)[name], ignore_index=-1)


@pytest.mark.parametrize("kind", ["CrossEntropyLoss", "WeightedCrossEntropyLoss"])
def test_nothing_to_learn_from_is_exactly_0(side, kind):
    logits, label = labels()
    tensor = side.tensor(logits)
    loss = side.build("volume", kind=kind)(tensor, side.tensor(np.full_like(label, -100)))
    loss.backward()
    assert float(side.array(loss)) == 0.0
    assert not side.array(tensor.grad).any()


def test_masks_of_any_dtype_teach(side):
    logits, target = maps()
    found = value(side, logits, target.astype(np.uint8), kind="BCEDiceLoss")
    assert found == value(side, logits, target, kind="BCEDiceLoss")


@pytest.mark.parametrize(
    ("reference", "port"),
    [
        ({"kind": "DiceLoss"}, {"kind": "DiceLoss", "normalization": "softmax"}),
        ({"kind": "BCEDiceLoss"}, {"kind": "BCEDiceLoss", "alpha": 0.5}),
        ({"kind": "DiceLoss", "weight": CLASS_WEIGHTS}, {"kind": "DiceLoss"}),
        ({"kind": "DiceLoss"}, {"kind": "GeneralizedDiceLoss"}),
        ({"kind": "BCEWithLogitsLoss", "ignore_index": -1}, {"kind": "BCEWithLogitsLoss"}),
        ({"kind": "WeightedCrossEntropyLoss"}, {"kind": "CrossEntropyLoss"}),
    ],
)
def test_another_loss_is_found(reference, port):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from align import align_loss
    from paddle_impl.losses import LOSSES as PORTS
    from torch_ref.losses import LOSSES as REFERENCES

    void = reference.get("ignore_index")
    batch = labels() if "Cross" in reference["kind"] else maps(void=void)
    theirs = REFERENCES["volume"](**reference)
    assert align_loss(theirs, PORTS["volume"](**reference), [*batch]).exit_code == 0
    assert align_loss(theirs, PORTS["volume"](**port), [*batch]).exit_code == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "Dice"}, "kind is 'Dice'; choose one of BCEWithLogitsLoss"),
        ({"kind": "DiceLoss", "alpha": 1.0}, "DiceLoss has no option alpha; it has normalization"),
        ({"kind": "MSELoss", "weight": [1.0]}, "MSELoss has no option weight"),
        ({"kind": "DiceLoss", "normalization": "tanh"}, "normalization is 'tanh'"),
    ],
)
def test_options_that_no_loss_has(side, settings, says):
    with pytest.raises(ConfigError, match=says):
        side.build("volume", **settings)


def test_targets_that_do_not_fit_are_refused(side):
    logits, target = maps()
    _, label = labels()
    for settings, wrong, says in (
        ({"kind": "DiceLoss"}, target[:, :1], "target: has the shape"),
        ({"kind": "MSELoss"}, label, "a map for every channel"),
        ({"kind": "CrossEntropyLoss"}, target, "do not belong together"),
        ({"kind": "CrossEntropyLoss"}, label.astype(np.int32), "expected int64"),
        ({"kind": "CrossEntropyLoss"}, label + 2, "expected classes 0..2"),
        ({"kind": "DiceLoss", "weight": [1.0]}, target, "weight has 1 numbers"),
    ):
        with pytest.raises(UserError, match=says):
            value(side, logits, wrong, **settings)
