"""Instances keep their ids from frame to frame; numbers of deeplab2's NumPy version."""

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from common.panoptic.stitching import stitch, stitch_clip


def test_instances_take_the_ids_of_those_that_they_cover():
    # model/post_processor/vip_deeplab.py (deeplab2 at 64bc1c1) gives this.
    before = np.array([[1001, 1001, 1002, 1002], [1001, 1001, 1002, 2000]])
    frame = np.array([[1005, 1005, 1006, 1006], [1005, 1007, 1006, 2000]])
    assert stitch(before, frame, 1000, 128).tolist() == [
        [1001, 1001, 1002, 1002],
        [1001, 1135, 1002, 2000],
    ]


def test_only_the_best_of_both_sides_are_one_instance():
    # 7 covers most of 1, but 2 lies wholly in 7's other half and is smaller: 7 and 2 do not agree.
    before = np.array([[1001] * 6 + [1002] * 3])
    frame = np.array([[1007] * 9])
    assert set(stitch(before, frame, 1000, 128).ravel().tolist()) == {1001}
    # Of equal ones the later id counts, on either side.
    equal = np.array([[1001, 1001, 1002, 1002]])
    assert set(stitch(equal, np.full((1, 4), 1003), 1000, 10).ravel().tolist()) == {1002}
    assert stitch(np.full((1, 4), 1003), equal, 1000, 10).tolist() == [[1011, 1011, 1003, 1003]]


def test_classes_stuff_and_void_are_never_joined():
    before = np.array([[1001, 1000, -1, 2001]])
    frame = np.array([[2001, 1001, 1001, -1]])
    assert stitch(before, frame, 1000, 10).tolist() == [[2011, 1011, 1011, -1]]
    assert frame.tolist() == [[2001, 1001, 1001, -1]]


def test_an_instance_is_never_raised_into_the_next_class():
    with pytest.raises(DataError, match="raised by 128 to 263"):
        stitch(np.array([[300]]), np.array([[391]]), 256, 128)
    with pytest.raises(ConfigError, match="an offset of 0 or more, got -1"):
        stitch(np.array([[257]]), np.array([[257, 261]]), 256, -1)  # 257 would be stuff
    with pytest.raises(DataError, match="of one frame"):
        stitch(np.zeros((1, 2), int), np.zeros((2, 1), int), 256, 128)


def row(*ids):
    return np.array([ids])


def test_a_clip_has_one_id_an_instance():
    # ViP_DeepLab_Demo.ipynb (deeplab2 at 64bc1c1) gives this for the offset 100.
    pairs = [
        (row(1001, 1001, 1002, 0), row(1001, 1001, 1102, 0)),  # number 2 is new after the two: 4
        (row(1002, 1002, 1001, 0), row(1002, 1001, 1001, 1103)),  # it numbers them otherwise
    ]
    clip = stitch_clip(pairs, 1000, 100)
    assert [found.ravel().tolist() for found in clip] == [
        [1001, 1001, 1002, 0],
        [1001, 1001, 1004, 0],
        [1001, 1004, 1004, 1007],
    ]


def test_an_id_of_a_clip_is_renamed_once():
    pairs = [
        (row(1001, 1002, 1002), row(1001, 1002, 1002)),
        (row(1002, 1001, 1001), row(1002, 1001, -1)),
    ]
    assert stitch_clip(pairs, 1000, 100)[-1].tolist() == [[1001, 1002, -1]]


def test_a_clip_with_more_instances_than_ids_is_refused():
    pairs = [(row(1001, 1090), row(1001, 1055))]
    assert stitch_clip(pairs, 1000, 50)[-1].tolist() == [[1001, 1095]]
    with pytest.raises(DataError, match="reach the number 104, and the label_divisor 100"):
        stitch_clip([(row(101, 190), row(101, 164))], 100, 50)
