"""Panoptic maps from a net's maps: numbers of the authors' code, and what it does at the edges."""

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from common.panoptic.grouping import max_deeplab_panoptic, panoptic_deeplab_panoptic

FEW = {"things": (1, 2), "nms_kernel": 3, "stuff_area": 1}


def scene(*peaks, size=(4, 6)):
    """Return maps of class 1 with these centres {(y, x): heat}, whose offsets lead nowhere."""
    center = np.zeros((1, *size), np.float32)
    for y, x, heat in peaks:
        center[0, y, x] = heat
    return np.ones(size, np.int64), center, np.zeros((2, *size), np.float32)


def test_pixels_go_to_the_nearest_centre_and_groups_vote():
    semantic, center, offset = scene((0, 0, 0.9), (0, 4, 0.8))
    semantic[1:, :3] = 2  # most of the first group
    semantic[3] = 0  # stuff
    offset[1, 0, 2] = 2.0  # to the second centre, which is 2 away as the first one
    panoptic, centres = panoptic_deeplab_panoptic(semantic, center, offset, **FEW)
    assert centres.tolist() == [[0, 0], [0, 4]]
    # bowenc0221, instance_post_processing.py (at cf8e20b) gives this; void_label does not occur.
    assert panoptic.tolist() == [
        [2001, 2001, 1001, 1001, 1001, 1001],
        [2001, 2001, 2001, 1001, 1001, 1001],
        [2001, 2001, 2001, 1001, 1001, 1001],
        [0, 0, 0, 0, 0, 0],
    ]


def test_of_equal_distances_and_votes_the_first_and_the_smallest_count():
    semantic, center, offset = scene((0, 0, 0.9), (0, 2, 0.8), size=(1, 4))
    semantic[0] = [2, 2, 2, 1]
    panoptic, _ = panoptic_deeplab_panoptic(semantic, center, offset, **FEW)
    assert panoptic.tolist() == [[2001, 2001, 1001, 1001]]


@pytest.mark.parametrize(("top_k", "kept"), [(None, 3), (4, 3), (3, 2), (2, 1), (1, 0)])
def test_centres_lie_strictly_above_the_value_of_number_k(top_k, kept):
    maps = scene((0, 0, 0.9), (0, 3, 0.8), (3, 0, 0.7))
    _, centres = panoptic_deeplab_panoptic(*maps, top_k=top_k, **FEW)
    assert len(centres) == kept


def test_of_equal_centres_too_many_are_none():
    maps = scene((0, 0, 0.5), (0, 3, 0.5), (3, 0, 0.5))
    panoptic, centres = panoptic_deeplab_panoptic(*maps, top_k=3, **FEW)
    assert len(centres) == 0
    assert (panoptic == -1).all()  # without a centre nothing of a thing is pasted


def test_a_plateau_is_a_centre_at_each_pixel_and_the_threshold_is_none():
    _, centres = panoptic_deeplab_panoptic(*scene((0, 0, 0.5), (0, 1, 0.5), (3, 5, 0.1)), **FEW)
    assert centres.tolist() == [[0, 0], [0, 1]]


def test_stuff_that_is_small_and_things_without_centre_are_void():
    semantic, center, offset = scene()
    semantic[0], semantic[1, :2] = 0, 3
    panoptic, _ = panoptic_deeplab_panoptic(
        semantic,
        center,
        offset,
        things=np.array([False, True, True, False]),
        stuff_area=3,
        void_label=255000,
    )
    assert (panoptic[0] == 0).all()
    assert (panoptic[1:] == 255000).all()


def test_float64_maps_are_grouped_in_float64():
    semantic, center, offset = scene((0, 0, 0.9), (0, 2, 0.8), size=(1, 4))
    wide = offset.astype(np.float64)
    wide[1, 0, 1] = 1e-12  # of 1, which float32 does not hold
    assert panoptic_deeplab_panoptic(semantic, center, wide, **FEW)[0][0, 1] == 1002


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"nms_kernel": 4}, ConfigError, "odd nms_kernel"),
        ({"top_k": 0}, ConfigError, "top_k"),
        ({"label_divisor": 2}, DataError, "label_divisor 2"),
    ],
)
def test_options_that_cannot_be_are_refused(change, error, said):
    with pytest.raises(error, match=said):
        panoptic_deeplab_panoptic(*scene((0, 0, 0.9), (3, 5, 0.8)), **{**FEW, **change})


def test_maps_that_do_not_fit_or_are_not_finite_are_refused():
    semantic, center, offset = scene((0, 0, 0.9))
    with pytest.raises(DataError, match=r"center \[1, H, W\]"):
        panoptic_deeplab_panoptic(semantic, center[0], offset, things=(1,))
    for wrong in (semantic.astype(float), semantic - 2):
        with pytest.raises(DataError, match=r"whole numbers 0\.\.65535"):
            panoptic_deeplab_panoptic(wrong, center, offset, things=(1,))
    offset[0, 1, 1] = np.nan
    with pytest.raises(DataError, match="could not check: the net's offset is NaN"):
        panoptic_deeplab_panoptic(semantic, center, offset, things=(1,))


def slots(*rows):
    """Return mask logits [slots, 1, columns]."""
    return np.array(rows, np.float64)[:, None, :]


SURE = 5.0
MAX = {"things": (2, 0), "void_label": 255, "label_divisor": 100, "image_shape": (1, 4)}


def test_slots_become_segments():
    masks = slots([9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9])
    classes = SURE * np.eye(4)[[0, 1, 2, 2]]  # channels: class 2, class 0, class 1, void
    whole = max_deeplab_panoptic(masks, classes, thing_area_limit=1, stuff_area_limit=2, **MAX)
    assert whole.tolist() == [[201, 2, 100, 100]]  # slots of one class of stuff are one
    small = max_deeplab_panoptic(masks, classes, thing_area_limit=2, stuff_area_limit=3, **MAX)
    assert (small == 25500).all()


def test_pixels_whose_best_slot_is_dropped_or_unsure_are_void():
    masks = slots([9, 5, 0.1, 0], [0, 6, 0, 0], [0, 0, 0, 0])
    classes = np.array([[SURE, 0, 0, 0], [0, 0.1, 0, 0], [0, 0, SURE, 0]])  # the second is unsure
    options = {"thing_area_limit": 0, "stuff_area_limit": 0}
    found = max_deeplab_panoptic(masks, classes, pixel_confidence_threshold=0.51, **options, **MAX)
    assert found.tolist() == [[201, 25500, 201, 25500]]
    none = max_deeplab_panoptic(masks, 0 * classes, **options, **MAX)
    assert (none == 25500).all()


def test_a_void_label_among_the_classes_is_left_out_of_the_channels():
    masks = slots([9, 9, 9, 9], [0, 0, 0, 0])
    options = {"thing_area_limit": 0, "stuff_area_limit": 0, **MAX, "things": (2,), "void_label": 0}
    classes = np.array([[0, SURE, 0], [0, 0, SURE]])  # class 2, class 1, void
    assert (max_deeplab_panoptic(masks, classes, **options) == 100).all()


def test_logits_are_resized_with_aligned_corners():
    masks = slots([4, -4], [-4, 4])  # at seven columns they cross in the middle
    classes = SURE * np.eye(4)[[0, 1]]
    options = {"thing_area_limit": 0, "stuff_area_limit": 0, **MAX, "image_shape": (1, 7)}
    found = max_deeplab_panoptic(masks, classes, pixel_confidence_threshold=0.6, **options)
    assert found.tolist() == [[201, 201, 201, 25500, 2, 2, 2]]
    options["image_shape"] = None  # that of the masks
    assert max_deeplab_panoptic(masks, classes, **options).tolist() == [[201, 2]]


@pytest.mark.parametrize(
    ("masks", "classes", "said"),
    [
        (np.zeros((3, 2, 2)), np.zeros((2, 4)), "mask_logits"),
        (np.full((2, 2, 2), np.nan), np.zeros((2, 4)), "could not check"),
        (np.zeros((100, 2, 2)), np.zeros((100, 4)), "label_divisor 100"),
    ],
)
def test_logits_that_do_not_fit_are_refused(masks, classes, said):
    with pytest.raises(DataError, match=said):
        max_deeplab_panoptic(masks, classes, **MAX)
