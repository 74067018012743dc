"""SOLO's targets by hand on small images, its post-processing beside plain loops and torch."""

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.instances.solo_post import decay, solo_instances
from common.instances.solo_targets import shrink, solo_targets

LEVELS = {"num_grids": (4, 2), "scale_ranges": ((1, 32), (32, 99)), "strides": (8, 16)}
POST = {"num_grids": (2, 1), "strides": (4, 8), "image_shape": (30, 60), "original_shape": (45, 90)}


def rectangle(y1, y2, x1, x2, size=(64, 64)):
    mask = np.zeros(size, np.uint8)
    mask[y1:y2, x1:x2] = 1
    return mask


def targets(objects, **options):
    masks = np.stack([rectangle(*place) for place, _ in objects])
    boxes = np.array([[x1, y1, x2, y2] for (y1, y2, x1, x2), _ in objects], np.float32)
    labels = np.array([label for _, label in objects])
    return solo_targets(masks, boxes, labels, num_classes=3, **{**LEVELS, **options})


def test_the_cell_of_the_centre_learns_class_and_mask():
    fine, coarse = targets([((16, 32, 32, 48), 2)])  # centre of mass 23.5, 39.5: row 1, column 2
    right = np.full([4, 4], 3)
    right[1, 2] = 2
    np.testing.assert_array_equal(fine["labels"], right)
    np.testing.assert_array_equal(np.flatnonzero(fine["positive"]), [6])
    np.testing.assert_array_equal(fine["masks"][0], rectangle(4, 8, 8, 12, (16, 16)))
    assert fine["masks"].shape == (1, 16, 16)
    assert (coarse["labels"] == 3).all()
    assert coarse["masks"].shape == (0, 8, 8)
    assert not coarse["positive"].any()


def test_rows_are_y_and_a_wide_box_reaches_beside_its_centre():
    fine = targets([((16, 24, 0, 64), 1)], scale_ranges=((1, 99), (1, 99)))[0]
    # 31.5 -+ 6.4: columns 1 and 2; 19.5 -+ 0.8: row 1
    np.testing.assert_array_equal(np.flatnonzero(fine["positive"]), [5, 6])
    far = targets([((0, 64, 0, 64), 1)], num_grids=(32, 2), scale_ranges=((1, 99), (1, 99)))[0]
    np.testing.assert_array_equal(  # 31.5 -+ 6.4 reaches cells 12 to 18; one beside 15 is learnt
        np.argwhere(far["labels"] == 1), [[y, x] for y in (14, 15, 16) for x in (14, 15, 16)]
    )


def test_ranges_include_both_ends():
    both = targets([((0, 32, 0, 32), 0)])
    assert [int(level["positive"].sum()) for level in both] == [4, 1]


@pytest.mark.parametrize(
    ("mask_stride", "cells", "widths"), [(None, [6], [2]), (4, [6, 6], [4, 2])]
)
def test_of_two_objects_of_a_cell_solo_keeps_the_later_and_solov2_both(mask_stride, cells, widths):
    two = [((16, 32, 32, 48), 2), ((20, 28, 36, 44), 0)]
    fine = targets(two, mask_stride=mask_stride)[0]
    np.testing.assert_array_equal(fine["cells"], cells)
    assert [int(mask.any(0).sum()) for mask in fine["masks"]] == widths
    assert fine["labels"][1, 2] == 0
    assert fine["positive"].sum() == 1
    assert targets(two, mask_stride=4)[1]["masks"].shape == (0, 16, 16)


def test_an_object_without_a_mask_is_left_out():
    masks, boxes = np.zeros([1, 64, 64]), np.array([[0, 0, 16, 16]])
    levels = solo_targets(masks, boxes, np.array([1]), num_classes=3, **LEVELS)
    assert not any(level["positive"].any() for level in levels)


def test_bytes_are_shrunk_as_opencv_does_a_half_upwards():
    mask = np.zeros([4, 8], np.uint8)
    mask[1, 1:3] = 1  # two of the four samples of the first
    mask[1, 5] = 1  # one of the second
    np.testing.assert_array_equal(shrink(mask, 4), [[1, 0]])
    assert shrink(np.ones([6, 10], np.uint8), 4).shape == (2, 3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"boxes": np.zeros([2, 4])}, "do not belong together"),
        ({"labels": np.array([3])}, "labels hold 3; expected 0..2"),
        ({"strides": (8,)}, "2, 2 and 1 levels"),
    ],
)
def test_targets_of_what_does_not_fit_are_refused(change, told):
    given = {"masks": np.ones([1, 64, 64]), "boxes": np.ones([1, 4]), "labels": np.array([1])}
    with pytest.raises(UserError, match=told):
        solo_targets(**{**given, "num_classes": 3, **LEVELS, **change})


def drawn(seed):
    """Return scores [5, 3] and masks [5, 8, 16] of overlapping rectangles with soft values."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 1, [5, 3])
    masks = rng.uniform(0, 0.45, [5, 8, 16])
    for mask in masks:
        y, x = rng.integers(0, 4), rng.integers(0, 8)
        mask[y : y + 5, x : x + 8] += 0.5
    return scores, masks


def by_loops(scores, masks, kernel):
    """Scores and labels before the last threshold, best first."""
    found = []
    for cell, stride in enumerate((4, 4, 4, 4, 8)):
        area = masks[cell] > 0.5
        for label in range(3):
            if scores[cell, label] > 0.1 and area.sum() > stride:
                found.append([scores[cell, label] * masks[cell][area].mean(), label, area])
    found.sort(key=lambda one: -one[0])

    def overlaps(j):
        mine = found[j]
        same = [i for i in range(j) if found[i][1] == mine[1]]
        return {i: (found[i][2] & mine[2]).sum() / (found[i][2] | mine[2]).sum() for i in same}

    lowered = []
    for j, (score, label, _) in enumerate(found):
        factor = 1.0
        for i, iou in overlaps(j).items():
            worst = max(overlaps(i).values(), default=0.0)
            if kernel == "gaussian":
                factor = min(factor, np.exp(-2 * iou**2) / np.exp(-2 * worst**2))
            elif worst < 1:
                factor = min(factor, (1 - iou) / (1 - worst))
        lowered.append((score * factor, label))
    return sorted(lowered, reverse=True)


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_plain_loops(seed, kernel):
    scores, masks = drawn(seed)
    found = solo_instances(scores, masks, kernel=kernel, **POST)
    expected = [one for one in by_loops(scores, masks, kernel) if one[0] >= 0.05]
    assert len(expected) > 3
    np.testing.assert_allclose(found["scores"], [score for score, _ in expected], rtol=1e-12)
    np.testing.assert_array_equal(found["labels"], [label for _, label in expected])
    few = solo_instances(scores, masks, kernel=kernel, max_per_img=2, **POST)
    np.testing.assert_array_equal(few["scores"], found["scores"][:2])


def test_masks_are_resized_as_torch_does():
    torch = pytest.importorskip("torch")
    scores, masks = drawn(0)
    scores[1:] = 0
    scores[0] = [0, 0.9, 0]
    found = solo_instances(scores, masks, **POST)
    size = {"mode": "bilinear", "align_corners": False}
    whole = torch.nn.functional.interpolate(torch.tensor(masks[:1, None]), size=(32, 64), **size)
    whole = torch.nn.functional.interpolate(whole[..., :30, :60], size=(45, 90), **size)
    np.testing.assert_array_equal(found["masks"], (whole[:, 0] > 0.5).numpy())
    assert found["labels"].tolist() == [1]


def test_a_copy_of_a_better_mask_is_lowered_and_its_copy_no_further():
    mask = np.ones([3, 2, 2], bool)
    factors = decay(mask, np.array([1, 1, 1]), "gaussian", 2.0)
    np.testing.assert_allclose(factors, [1, np.exp(-2), np.exp(-2)])
    np.testing.assert_array_equal(decay(mask, np.array([0, 1, 2]), "gaussian", 2.0), 1)


def test_nothing_found_is_no_object_of_the_right_shape():
    scores, masks = drawn(0)
    for nothing in ((scores * 0, masks), (scores, masks * 0)):
        found = solo_instances(*nothing, **POST)
        assert found["masks"].shape == (0, 45, 90)
        assert found["scores"].shape == found["labels"].shape == (0,)


def test_arrays_and_kernels_that_do_not_fit_are_refused():
    scores, masks = drawn(0)
    with pytest.raises(UserError, match=r"expected \[5, classes\] and \[5, h, w\]"):
        solo_instances(scores[:4], masks, **POST)
    with pytest.raises(ConfigError, match="kernel='box'"):
        solo_instances(scores, masks, kernel="box", **POST)
    with pytest.raises(UserError, match="2 levels and strides of 1"):
        solo_instances(scores, masks, **{**POST, "strides": (4,)})
