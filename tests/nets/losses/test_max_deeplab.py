"""MaX-DeepLab's loss of both styles: by definition, against the authors' numbers, side to side."""

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.panoptic.max_deeplab.matching import objects_of_slots
from common.panoptic.max_deeplab.targets import max_deeplab_targets
from tests.nets.losses.criteria import both

SLOTS, CLASSES, SIZE = 6, 4, 16
THINGS = (2, 0)


def segments_of(seed):
    """Ids [16, 16] of blocks, void among them, and segments: a crowd, stuff twice, things."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 5, (4, 4)).repeat(4, 0).repeat(4, 1).astype(np.uint32)
    classes = {1: 2, 2: 0, 3: 1, 4: 2}
    return ids, [
        {"id": k, "category_id": c, "iscrowd": int(k == 4), "area": int((ids == k).sum())}
        for k, c in classes.items()
    ]


def case(style, seed=0, count=2, size=SIZE):
    """Outputs of a net, float64, and the target of a batch."""
    rng = np.random.default_rng(seed)
    made = [
        max_deeplab_targets(*segments_of(seed + 10 + n), THINGS, style=style, max_objects=5)
        for n in range(count)
    ]
    target = {name: np.stack([one[name] for one in made]) for name in made[0]}
    if style == "simplified":
        shapes = [(SLOTS, size, size), (SLOTS, CLASSES), (CLASSES, size, size)]
        return [rng.standard_normal((count, *shape)) for shape in shapes], target
    shapes = {
        "feature": (3, size // 4, size // 4),
        "mask": (SLOTS, size // 4, size // 4),
        "class": (SLOTS, CLASSES),
        "semantic": (CLASSES - 1, size // 4, size // 4),
    }
    outputs = {name: rng.standard_normal((count, *shape)) for name, shape in shapes.items()}
    outputs["feature"] /= np.linalg.norm(outputs["feature"], axis=1, keepdims=True)
    return outputs, target


def build(side, style):
    return side.build("max_deeplab", style=style, things=THINGS)


def evaluated(side, style, outputs, target, **how):
    """Return {term: value}, the total, and the gradient of the total by every output."""
    criterion = build(side, style)
    names = range(len(outputs)) if isinstance(outputs, list) else list(outputs)
    tensors = {name: side.tensor(outputs[name]) for name in names}
    given = list(tensors.values()) if isinstance(outputs, list) else tensors
    target = {name: side.tensor(array) for name, array in target.items()}
    parts = criterion.parts(given, target, **how)
    total = criterion.total(parts)
    total.backward()
    values = {name: side.array(part) for name, part in parts.items()}
    return values, float(side.array(total)), [side.array(t.grad) for t in tensors.values()]


def softmax(values, axis):
    shifted = np.exp(values - values.max(axis=axis, keepdims=True))
    return shifted / shifted.sum(axis=axis, keepdims=True)


# ------------------------------------------------------------------------------- by definition


def simplified_by_definition(outputs, target):
    """The authors' losses.py with every pair as an element of a list."""
    masks, classes, semantic = outputs
    shares, probabilities = softmax(masks, 1), softmax(classes, 2)
    weights, dices, costs, negatives = [], [], [], []
    features, truths = [], []
    for n, size in enumerate(target["sizes"]):
        truth, labels = target["masks"][n, :size], target["labels"][n, :size]
        dice = np.array([[dice_of(s, t) for t in truth] for s in shares[n]]).reshape(SLOTS, size)
        similarity = (dice * probabilities[n][:, labels])[None]
        objects = objects_of_slots(similarity, np.array([size]))[0]
        for slot, k in enumerate(objects):
            if k < 0:
                negatives.append(-np.log(probabilities[n, slot, 0]))
                continue
            weights.append(probabilities[n, slot, labels[k]])
            dices.append(dice[slot, k])
            costs.append(-np.log(weights[-1]))
        pixels = masks[n, :, ::4, ::4].reshape(SLOTS, -1)
        for t in truth[:, ::4, ::4].reshape(size, -1):
            total = pixels @ t
            features.append(total / max(np.linalg.norm(total), 1e-12) @ pixels / 0.3)
            truths.append(t)
    weights, dices, costs = map(np.array, (weights, dices, costs))
    pairs = weights[:, None] * (1 - dices) + dices * costs
    logits, members = np.array(features), np.array(truths)
    apart = np.log(np.exp(logits).sum(0)) - np.log(np.exp(members * logits).sum(0))
    return {
        "pq": 0.75 * pairs.mean() + 0.25 * np.mean(negatives),
        "semantic": cross_entropy(semantic, target["semantic"]).mean(),
        "maskid": cross_entropy(masks, target["masks"].argmax(1)).mean(),
        "instdisc": apart.mean(),
    }


def dice_of(share, truth):
    return (2 * (share * truth).sum() + 1e-5) / (share.sum() + truth.sum() + 1e-5)


def cross_entropy(logits, label):
    return -np.log(np.take_along_axis(softmax(logits, 1), label[:, None], 1))[:, 0]


def test_simplified_terms_are_their_definition(side):
    outputs, target = case("simplified")
    values, total, _ = evaluated(side, "simplified", outputs, target)
    expected = simplified_by_definition(outputs, target)
    assert list(values) == ["pq", "semantic", "maskid", "instdisc"]
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-12), name
    weights = {"pq": 3, "semantic": 1, "maskid": 0.3, "instdisc": 1}
    assert total == pytest.approx(sum(weights[k] * v for k, v in expected.items()), rel=1e-12)


def paper_by_definition(outputs, target, n):
    """The terms of image `n`, from deeplab2's max_deeplab_loss.py, object by object."""
    label, number = (target[k][n, ::4, ::4] for k in ("semantic", "thing_id_mask"))
    shares, valid = softmax(outputs["mask"][n], 0), label != 255
    probabilities = softmax(outputs["class"][n], 1)
    order = [*THINGS, 1]
    found = [
        (number == k, order.index(c))
        for k, c in enumerate(target["thing_id_class"][n])
        if c >= 0 and (number == k).any()
    ]
    found += [(label == 1, 2)] if (label == 1).any() else []
    dice = np.array(
        [
            [(s * g).sum() / ((g.sum() + (s * valid).sum()) / 2 + 1e-5) for g, _ in found]
            for s in shares
        ]
    )
    fit = dice * probabilities[:, [channel for _, channel in found]]
    objects = objects_of_slots(fit[None], np.array([len(found)]))[0]
    owned = sum(g for g, _ in found)
    slot_of = {k: s for s, k in enumerate(objects) if k >= 0}
    dice_term = 0.0
    for k, (g, channel) in enumerate(found):
        share = shares[slot_of[k]] * owned
        loss = 1 - (2 * (share * g).sum() + 1) / (share.sum() + g.sum() + 1)
        dice_term += loss * max(probabilities[slot_of[k], channel], 1e-5)
    costs = []
    for s, k in enumerate(objects):
        outside = (shares[s] * ~valid).sum() / (shares[s].sum() + 1e-5)
        weight = 0.75 * max(dice[s, k], 1e-5) if k >= 0 else 0.25 * max(outside, 1e-5)
        costs.append(-np.log(probabilities[s, found[k][1] if k >= 0 else -1]) * weight)
    feature = outputs["feature"][n]
    means = [unit((feature * g).sum((1, 2))) for g, _ in found]
    near = softmax(np.array([np.tensordot(m, feature, 1) for m in means]) / 0.3, 0)
    ids, instances = [], []
    for k, (g, _) in enumerate(found):
        ids += list(-np.log(shares[slot_of[k]][g & valid]))
        instances += list(-np.log(near[k][g & (number >= 0)]))
    semantic = softmax(outputs["semantic"][n], 0)
    pixels = [-np.log(semantic[(label[p], *p)]) for p in zip(*np.nonzero(valid), strict=True)]
    return {
        "pq_style_loss_class_term": 3 * np.mean(costs),
        "pq_style_loss_mask_dice_term": 3 * 0.75 / SLOTS * dice_term,
        "mask_id_cross_entropy_loss": 0.3 * np.mean(ids),
        "instance_discrimination_loss": np.mean(instances) if instances else 0.0,
        "semantic_loss": np.mean(pixels),
    }


def unit(vector):
    return vector / np.linalg.norm(vector)


def test_paper_terms_are_their_definition(side):
    outputs, target = case("paper")
    values, total, _ = evaluated(side, "paper", outputs, target)
    expected = [paper_by_definition(outputs, target, n) for n in range(2)]
    assert list(values) == list(expected[0])
    for name in values:
        np.testing.assert_allclose(values[name], [one[name] for one in expected], rtol=1e-11)
    assert total == pytest.approx(sum(sum(one.values()) for one in expected) / 2, rel=1e-11)


# What the authors' code gives for `case(style)`, run in float64 elsewhere: conradry/max-deeplab at
# 92a01e2, losses.py:271-298, and google-research/deeplab2 at 64bc1c1, max_deeplab_loss.py:804-1138
# (TensorFlow). Terms, the total, and the summed sizes of the gradients by every output.
THEIRS = {
    "simplified": (
        {
            "pq": 1.0188306081964618,
            "semantic": 1.7518294216048027,
            "maskid": 2.190367693800608,
            "instdisc": 1.1845794451653848,
        },
        6.650010999499755,
        [6.446293537841603, 1.6612360087395248, 1.5086672063042015],
    ),
    "paper": (
        {
            "pq_style_loss_class_term": [0.5678831834413811, 0.6421362404482192],
            "pq_style_loss_mask_dice_term": [0.19852595018395222, 0.10576616078573356],
            "mask_id_cross_entropy_loss": [0.49572509015576277, 0.5176196294626223],
            "instance_discrimination_loss": [0.23899769379001437, 0.2068985560176695],
            "semantic_loss": [1.3200840920320815, 1.7588166256310067],
        },
        3.0262266109742217,
        [2.6823130895653677, 0.6102421573724279, 0.6010552337553707, 1.3674579248193324],
    ),
}


@pytest.mark.parametrize("style", THEIRS)
def test_terms_and_gradients_are_the_authors(side, style):
    values, total, gradients = evaluated(side, style, *case(style))
    terms, whole, sizes = THEIRS[style]
    for name, value in terms.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-12, err_msg=name)
    assert total == pytest.approx(whole, rel=1e-12)
    assert [np.abs(g).sum() for g in gradients] == pytest.approx(sizes, rel=1e-11)


def test_pixels_of_crowds_push_masks_as_in_tensorflow_or_not(side):
    outputs, target = case("paper")
    tensor = side.tensor(outputs["mask"])
    given = {name: side.tensor(array) for name, array in outputs.items()} | {"mask": tensor}
    known = {name: side.tensor(array) for name, array in target.items()}
    settings = {"style": "paper", "things": THINGS, "crowds_push": False}
    side.build("max_deeplab", **settings).parts(given, known)[
        "mask_id_cross_entropy_loss"
    ].sum().backward()
    label, number = (target[k][:, ::4, ::4] for k in ("semantic", "thing_id_mask"))
    crowd = (label == 2) & (number < 0)
    assert crowd.any()
    assert not np.abs(side.array(tensor.grad)).sum(1)[crowd].any()


# --------------------------------------------------------------------------------- both sides


@pytest.mark.parametrize("style", ["simplified", "paper"])
@pytest.mark.parametrize("seed", range(3))
def test_both_sides_are_equal(style, seed):
    outputs, target = case(style, seed)
    theirs, ours = (evaluated(side, style, outputs, target) for side in both())
    for name, value in theirs[0].items():
        np.testing.assert_allclose(ours[0][name], value, rtol=1e-12)
    for reference, port in zip(theirs[2], ours[2], strict=True):
        np.testing.assert_allclose(port, reference, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("style", ["simplified", "paper"])
def test_an_assignment_that_is_given_is_used(side, style):
    outputs, target = case(style)
    arrays = outputs if isinstance(outputs, dict) else dict(enumerate(outputs))
    tensors = {name: side.tensor(array) for name, array in arrays.items()}
    given = tensors if isinstance(outputs, dict) else list(tensors.values())
    known = {name: side.tensor(array) for name, array in target.items()}
    criterion = build(side, style)
    own = criterion.assignment(given, known)
    assert own["similarity"].shape[:2] == own["objects"].shape == (2, SLOTS)
    plain = float(side.array(criterion(given, known)))
    turned = {name: side.tensor(np.ascontiguousarray(own[name][:, ::-1])) for name in own}
    same = {name: side.tensor(array) for name, array in own.items()}
    assert float(side.array(criterion(given, known, assignment=same))) == plain
    assert float(side.array(criterion(given, known, assignment=turned))) != plain


# -------------------------------------------------------------------------------------- edges


def test_simplified_without_an_object_or_a_free_slot_is_nan_as_theirs(side):
    outputs, target = case("simplified")
    none = {**target, "sizes": np.zeros(2, np.int64)}
    values, *_ = evaluated(side, "simplified", outputs, none)
    assert {name for name, value in values.items() if np.isnan(value)} == {"pq", "instdisc"}
    full = {name: array[:, :2] for name, array in target.items() if name in ("masks", "labels")}
    full = {**target, **full, "sizes": np.array([2, 2])}
    few = [outputs[0][:, :2], outputs[1][:, :2], outputs[2]]
    assert np.isnan(evaluated(side, "simplified", few, full)[0]["pq"])


def test_simplified_an_object_without_pixels_at_the_stride_has_a_gradient(side):
    outputs, target = case("simplified")
    target["masks"][:, 0] = 0
    target["masks"][:, 0, 1, 1] = 1
    _, total, gradients = evaluated(side, "simplified", outputs, target)
    assert np.isfinite(total)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_paper_without_an_object_is_finite(side):
    outputs, target = case("paper")
    target["thing_id_mask"][:] = -1
    target["semantic"][:] = 255
    values, total, gradients = evaluated(side, "paper", outputs, target)
    assert np.isfinite(total)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert {name for name, value in values.items() if value.any()} == {"pq_style_loss_class_term"}


WRONG = {
    "not the net's": ("simplified", lambda o, t: (o[:2], t), "expected .mask logits"),
    "of the other style": (
        "simplified",
        lambda o, t: (o, case("paper")[1]),
        "masks, labels, sizes",
    ),
    "too many objects": (
        "simplified",
        lambda o, t: ([o[0][:, :1], o[1][:, :1], o[2]], t),
        "num_masks",
    ),
    "maps of another net": ("simplified", lambda o, t: ([o[0]] * 3, t), "4, 3 and 4 axes"),
    "a class too many": (
        "simplified",
        lambda o, t: ([o[0], o[1][..., :2], o[2]], t),
        "num_classes",
    ),
    "another size": ("simplified", lambda o, t: ([o[0][..., ::2, ::2], *o[1:]], t), "differ in h"),
    "outputs in a list": ("paper", lambda o, t: (list(o.values()), t), "heads: paper"),
    "a label too many": (
        "paper",
        lambda o, t: ({**o, "semantic": o["semantic"][:, :1]}, t),
        "0..0",
    ),
    "fewer slots": (
        "paper",
        lambda o, t: ({**o, "mask": o["mask"][:, :1], "class": o["class"][:, :1]}, t),
        "1 slots",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_belong_together_is_told(side, what):
    style, change, says = WRONG[what]
    outputs, target = change(*case(style))
    with pytest.raises(UserError, match=says):
        evaluated(side, style, outputs, target)


def test_an_unknown_style(side):
    with pytest.raises(ConfigError, match="style='own'"):
        side.build("max_deeplab", style="own")


def test_settings_of_the_paper_name_the_things():
    from common.settings.recipe import MaxDeepLabOptions

    assert MaxDeepLabOptions(name="max_deeplab").things == ()
    with pytest.raises(ValueError, match="needs things"):
        MaxDeepLabOptions(name="max_deeplab", style="paper")


def test_logs_show_the_mean_of_terms_by_image(side):
    from common.training.net_side import loss_parts

    outputs, target = case("paper")
    tensors = {name: side.tensor(array) for name, array in outputs.items()}
    known = {name: side.tensor(array) for name, array in target.items()}
    shown = {
        name: float(side.array(value))
        for name, value in loss_parts(build(side, "paper"), tensors, known).items()
    }
    assert shown["loss"] == pytest.approx(sum(v for k, v in shown.items() if k != "loss"))
