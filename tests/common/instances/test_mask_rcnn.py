"""Mask R-CNN's matching, sampling and targets, beside plain loops and numbers found by hand."""

import math

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.instances.matching import BELOW, BETWEEN, labels_of, match
from common.instances.resizing import resize_boxes, resize_masks
from common.instances.sampling import sample, samples_of_images
from common.instances.targets import encode_boxes, mask_targets
from common.randomness import generator

RPN = {"high": 0.7, "low": 0.3, "best_of_each_object": True}
ROI = {"high": 0.5, "low": 0.5, "best_of_each_object": False}
# Rows: objects; columns: boxes.
OVERLAPS = np.array([[0.7, 0.69, 0.1, 0.29, 0.5], [0.2, 0.3, 0.1, 0.0, 0.5]])


def test_thresholds_belong_to_the_upper_side():
    found = match(OVERLAPS, **{**RPN, "best_of_each_object": False})
    np.testing.assert_array_equal(found, [0, BETWEEN, BELOW, BELOW, BETWEEN])
    np.testing.assert_array_equal(match(OVERLAPS, **ROI), [0, 0, BELOW, BELOW, 0])


def test_the_best_of_an_object_belongs_to_the_object_that_it_overlaps_most():
    # Box 4 is the best of object 1, and overlaps object 0, the first, as much.
    np.testing.assert_array_equal(match(OVERLAPS, **RPN), [0, BETWEEN, BELOW, BELOW, 0])


def test_all_that_tie_for_an_object_are_its_best_even_at_zero():
    tied = np.array([[0.2, 0.2, 0.1], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(match(tied, **RPN), [0, 0, 0])
    np.testing.assert_array_equal(match(tied[:1], **RPN), [0, 0, BELOW])


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_without_objects_all_is_background(shape):
    found = match(np.zeros(shape), **RPN)
    np.testing.assert_array_equal(found, np.full(shape[1], BELOW))
    np.testing.assert_array_equal(labels_of(found, np.zeros(0, np.int64)), np.zeros(shape[1]))


def test_labels_of_boxes_are_the_classes_themselves():
    matches = np.array([1, BETWEEN, BELOW, 0])
    np.testing.assert_array_equal(labels_of(matches, np.array([3, 7])), [7, -1, 0, 3])
    np.testing.assert_array_equal(labels_of(matches), [1, -1, 0, 1])


def test_what_cannot_be_matched_is_refused():
    with pytest.raises(ConfigError, match=r"low 0\.6 and high 0\.5"):
        match(OVERLAPS, high=0.5, low=0.6, best_of_each_object=False)
    with pytest.raises(UserError, match=r"\[5\], expected \[objects, boxes\]"):
        match(OVERLAPS[0], **RPN)


LABELS = np.array([0, 2, -1, 0, 1, 0, 5, 0, -1, 0])


@pytest.mark.parametrize(
    ("count", "fraction", "objects", "background"),
    [(4, 0.5, 2, 2), (5, 0.5, 2, 3), (20, 0.5, 3, 5), (6, 0.9, 3, 3), (4, 0.0, 0, 4)],
)
def test_so_many_are_drawn_and_a_part_of_them_objects(count, fraction, objects, background):
    found = sample(LABELS, count=count, positive_fraction=fraction, rng=generator(3, "x"))
    assert (len(found.positives), len(found.negatives)) == (objects, background)
    assert (LABELS[found.positives] > 0).all()
    assert (LABELS[found.negatives] == 0).all()
    for one in found:
        assert (np.diff(one) > 0).all()


def test_each_candidate_is_drawn_as_often_as_any_other():
    labels, counts = np.array([0] * 6 + [1] * 4), np.zeros(10)
    for step in range(600):
        rng = generator(0, "x", step)
        found = sample(labels, count=4, positive_fraction=0.5, rng=rng)
        counts[np.concatenate(found)] += 1
    np.testing.assert_allclose(counts / 600, [2 / 6] * 6 + [2 / 4] * 4, atol=0.07)


def drawn_of(seed=1, purpose="rpn", step=0, images=2):
    found = samples_of_images(
        [np.zeros(50, np.int64)] * images,
        count=8,
        positive_fraction=0.5,
        seed=seed,
        purpose=purpose,
        step=step,
    )
    return [one.negatives.tolist() for one in found]


def test_draws_depend_on_seed_purpose_step_and_image_alone():
    first = drawn_of()
    assert first == drawn_of()
    assert first[0] != first[1]
    assert first == drawn_of(images=3)[:2]
    for other in (drawn_of(seed=2), drawn_of(purpose="roi"), drawn_of(step=1)):
        assert other[0] != first[0]
    assert first[0] == [1, 4, 9, 17, 25, 30, 31, 36]  # else a resumed run would draw others


def test_impossible_samples_are_refused():
    with pytest.raises(ConfigError, match="count 0"):
        sample(LABELS, count=0, positive_fraction=0.5, rng=generator(0, "x"))
    with pytest.raises(ConfigError, match=r"fraction 1\.5"):
        sample(LABELS, count=1, positive_fraction=1.5, rng=generator(0, "x"))
    with pytest.raises(UserError, match=r"\[1, 10\], expected \[N\]"):
        sample(LABELS[None], count=1, positive_fraction=0.5, rng=generator(0, "x"))


def test_moves_of_a_box_by_hand():
    box, thing = np.array([[10.0, 20.0, 30.0, 60.0]]), np.array([[14.0, 20.0, 54.0, 40.0]])
    # Centres 20, 40 and 34, 30; sides 20, 40 and 40, 20.
    right = np.array([[14 / 20, -10 / 40, math.log(2), math.log(0.5)]])
    np.testing.assert_allclose(encode_boxes(thing, box, (1, 1, 1, 1)), right, rtol=1e-15)
    weighed = right * [10, 10, 5, 5]
    np.testing.assert_allclose(encode_boxes(thing, box, (10, 10, 5, 5)), weighed, rtol=1e-15)
    single = encode_boxes(thing.astype(np.float32), box.astype(np.float32), (10, 10, 5, 5))
    assert single.dtype == np.float32
    assert encode_boxes(box[:0], box[:0], (1, 1, 1, 1)).shape == (0, 4)
    with pytest.raises(UserError, match=r"objects \[1, 4\], boxes \[0, 4\]"):
        encode_boxes(thing, box[:0], (1, 1, 1, 1))


def bilinear(mask, y, x):
    """What the compiled RoIAlign reads at a place, by its own words."""
    height, width = mask.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = max(y, 0.0), max(x, 0.0)
    y0, x0 = min(int(y), height - 1), min(int(x), width - 1)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    dy, dx = (y - y0 if y0 < y1 else 0.0), (x - x0 if x0 < x1 else 0.0)
    top = mask[y0, x0] * (1 - dx) + mask[y0, x1] * dx
    return top * (1 - dy) + (mask[y1, x0] * (1 - dx) + mask[y1, x1] * dx) * dy


def plain_target(mask, box, size):
    width, height = max(box[2] - box[0], 1.0), max(box[3] - box[1], 1.0)
    over, down = math.ceil(width / size), math.ceil(height / size)
    out = np.zeros([size, size])
    for row, column in np.ndindex(size, size):
        for i, j in np.ndindex(down, over):
            y = box[1] + (row + (i + 0.5) / down) * height / size
            x = box[0] + (column + (j + 0.5) / over) * width / size
            out[row, column] += bilinear(mask, y, x) / (down * over)
    return out


BOXES = np.array(
    [
        [2.0, 3.0, 17.5, 12.25],  # several samples a cell
        [-3.0, -0.4, 4.0, 30.0],  # beyond the image
        [5.2, 5.1, 5.6, 9.0],  # thinner than a pixel
        [18.5, 10.0, 19.9, 15.9],  # at the lower right corner
        [40.0, 3.0, 44.0, 9.0],  # outside
    ]
)


def test_mask_targets_are_roi_align_with_adaptive_sampling():
    masks = (generator(0, "masks").random([2, 16, 20]) > 0.5).astype(np.uint8)
    matches = np.array([0, 1, 1, 0, 1])
    found = mask_targets(masks, BOXES, matches, 5)
    for one, box, match_ in zip(found, BOXES, matches, strict=True):
        np.testing.assert_allclose(one, plain_target(masks[match_], box, 5), atol=1e-13)
    assert not found[4].any()
    single = mask_targets(masks, BOXES.astype(np.float32), matches, 5)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, found, atol=3e-6)
    assert mask_targets(masks, BOXES[:0], matches[:0], 5).shape == (0, 5, 5)
    with pytest.raises(UserError, match="do not belong together"):
        mask_targets(masks, BOXES, matches[:2], 5)


def test_resized_objects():
    boxes = np.array([[10, 20, 30, 40]], np.float32)
    np.testing.assert_array_equal(resize_boxes(boxes, (80, 60), (160, 30)), [[5, 40, 15, 80]])
    third = resize_boxes(boxes.astype(np.float64), (3, 3), (1, 1))[0, 0]
    assert third == 10 * float(np.float32(1 / 3))  # torchvision's ratio is a float32
    line = np.arange(80)[None, :, None] % 2 == np.zeros([1, 1, 2])
    found = resize_masks(np.arange(80, dtype=np.uint8).reshape([1, 80, 1]), (96, 1))[0, :, 0]
    assert found[6] == 5  # 6 * (80 / 96) is 4.9999999999999996 in float64
    assert resize_masks(line, (96, 4)).shape == (1, 96, 4)
    np.testing.assert_array_equal(resize_masks(line, (80, 2)), line)
