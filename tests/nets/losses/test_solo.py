"""SOLO's loss on both sides against its formula in NumPy, values and gradients."""

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.instances.solo_targets import solo_targets
from tests.nets.losses.criteria import both

GRIDS, CLASSES = (4, 2), 3


def image(seed, mask_stride=None):
    """Targets of 64x64 pixels with two objects, of which one covers the other."""
    rng = np.random.default_rng(seed)
    masks = np.zeros([2, 64, 64], np.uint8)
    y, x = rng.integers(8, 24, 2)
    masks[0, y : y + 24, x : x + 24] = 1
    masks[1, y + 4 : y + 20, x + 4 : x + 20] = 1
    boxes = np.array([[x, y, x + 24, y + 24], [x + 4, y + 4, x + 20, y + 20]], np.float32)
    ranges = {"scale_ranges": ((1, 32), (20, 99)), "strides": (8, 16), "num_grids": GRIDS}
    labels = rng.integers(0, CLASSES, 2)
    return solo_targets(
        masks, boxes, labels, num_classes=CLASSES, mask_stride=mask_stride, **ranges
    )


def outputs(count=2, seed=0):
    rng = np.random.default_rng(seed)
    masks = [
        rng.standard_normal((count, s * s, size, size))
        for s, size in zip(GRIDS, (16, 8), strict=True)
    ]
    return masks, [rng.standard_normal((count, CLASSES, s, s)) for s in GRIDS]


def dynamic(count=2, seed=0):
    rng = np.random.default_rng(seed)
    kernels = [rng.standard_normal((count, 6, s, s)) for s in GRIDS]
    return kernels, outputs(count, seed)[1], rng.standard_normal((count, 6, 16, 16))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def expected(masks, classes, targets):
    """solo_head.py, DiceLoss and sigmoid focal loss, one cell after the other."""
    dice, focal, positives = [], 0.0, 0
    for n, levels in enumerate(targets):
        for i, level in enumerate(levels):
            positives += int(level["positive"].sum())
            for cell, mask in zip(level["cells"], level["masks"], strict=True):
                p = sigmoid(masks[i][n, cell])
                dice.append(1 - 2 * (p * mask).sum() / ((p**2).sum() + (mask**2.0).sum() + 0.002))
            for (y, x), label in np.ndenumerate(level["labels"]):
                for k in range(CLASSES):
                    p = sigmoid(classes[i][n, k, y, x])
                    right = -0.25 * (1 - p) ** 2 * np.log(p)
                    focal += right if label == k else -0.75 * p**2 * np.log(1 - p)
    return {"loss_mask": 3 * sum(dice) / positives, "loss_cls": focal / (positives + 1)}


def parts(side, arrays, targets):
    """Return the terms, and the gradients of their sum."""
    tensors = [
        [side.tensor(a) for a in one] if isinstance(one, list) else side.tensor(one)
        for one in arrays
    ]
    criterion = side.build("solo", num_classes=CLASSES)
    found = criterion.parts(tensors, targets)
    criterion.total(found).backward()
    leaves = [t for one in tensors for t in (one if isinstance(one, list) else [one])]
    gradients = [side.array(t.grad) if t.grad is not None else None for t in leaves]
    return {name: float(side.array(term)) for name, term in found.items()}, gradients


def test_terms_are_the_formula_s(side):
    masks, classes = outputs()
    targets = [image(0), image(1)]
    assert sum(len(level["cells"]) for one in targets for level in one) > 4
    found, gradients = parts(side, (masks, classes), targets)
    assert found == pytest.approx(expected(masks, classes, targets), rel=1e-12)
    step = 1e-5 * gradients[0]
    nearer, _ = parts(side, ([masks[0] - step, masks[1]], classes), targets)
    drop = found["loss_mask"] - nearer["loss_mask"]
    assert drop == pytest.approx((step * gradients[0]).sum(), rel=1e-3)


def test_solov2_lays_the_kernels_of_its_cells_on_the_features(side):
    kernels, classes, features = dynamic()
    targets = [image(0, mask_stride=4), image(1, mask_stride=4)]
    assert any(len(lv["cells"]) > lv["positive"].sum() for one in targets for lv in one)
    masks = [np.einsum("nek,nehw->nkhw", k.reshape(2, 6, -1), features) for k in kernels]
    found, _ = parts(side, (kernels, classes, features), targets)
    assert found == pytest.approx(expected(masks, classes, targets), rel=1e-12)


def test_one_image_s_target_may_stand_alone_and_cells_may_be_missing(side):
    arrays = outputs(1)
    plain = [{k: v for k, v in level.items() if k != "cells"} for level in image(0)]
    assert parts(side, arrays, plain)[0] == parts(side, arrays, [image(0)])[0]


def test_without_objects_masks_cost_nothing(side):
    none = np.zeros([0, 64, 64]), np.zeros([0, 4]), np.zeros(0, int)
    ranges = {"scale_ranges": ((1, 32), (20, 99)), "strides": (8, 16), "num_grids": GRIDS}
    arrays = outputs(1)
    found, gradients = parts(side, arrays, [solo_targets(*none, num_classes=CLASSES, **ranges)])
    assert found["loss_mask"] == 0
    assert found["loss_cls"] > 0
    assert not gradients[0].any()


@pytest.mark.parametrize("arrays", [outputs(), dynamic()])
def test_both_sides_are_equal(arrays):
    targets = [image(n, 4 if len(arrays) == 3 else None) for n in (0, 1)]
    (theirs, reference), (ours, port) = (parts(side, arrays, targets) for side in both())
    assert ours == pytest.approx(theirs, rel=1e-13)
    for a, b in zip(reference, port, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


def test_what_does_not_fit_is_refused(side):
    arrays = outputs()
    with pytest.raises(UserError, match="outputs of 2 images, targets of 1"):
        parts(side, arrays, [image(0)])
    with pytest.raises(UserError, match="expected the same grids, and 3 classes"):
        parts(side, arrays, [image(0)[:1]] * 2)
    with pytest.raises(UserError, match="padded size"):
        parts(side, arrays, [image(0, mask_stride=2)] * 2)
    with pytest.raises(ConfigError, match="num_classes below 1"):
        side.build("solo", num_classes=0)


def of_one_batch():
    """What `image` says of two images, as a training gets it: arrays by name."""
    levels, target = [image(0), image(1)], {}
    for i in range(len(GRIDS)):
        own = [one[i] for one in levels]
        target[f"labels_{i}"] = np.stack([level["labels"] for level in own])
        target[f"masks_{i}"] = np.concatenate([level["masks"] for level in own])
        target[f"cells_{i}"] = np.concatenate([level["cells"] for level in own])
        counts = [len(level["cells"]) for level in own]
        target[f"image_{i}"] = np.repeat(np.arange(2), counts)
    return levels, target


def test_a_batch_s_arrays_teach_the_same(side):
    levels, target = of_one_batch()
    (right, gradients), (found, others) = (
        parts(side, outputs(), given)
        for given in (levels, {name: side.tensor(a) for name, a in target.items()})
    )
    assert found == right
    for a, b in zip(gradients, others, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_port_that_swaps_rows_and_columns_of_the_grid_is_found():
    from align import align_loss

    theirs, ours = (side.build("solo", num_classes=CLASSES) for side in both())
    given = [outputs(), of_one_batch()[1]]
    assert align_loss(theirs, ours, given).exit_code == 0
    right = ours.parts

    def swapped(found, target):
        masks, classes = found
        return right((masks, [level.transpose([0, 1, 3, 2]) for level in classes]), target)

    ours.parts = swapped
    report = align_loss(theirs, ours, given)
    assert report.exit_code == 1
    found = {divergence.where for divergence in report.divergences}
    assert found == {"output:0", "grad_input:2", "grad_input:3"}  # the masks' are right
