"""Rows of post-processing: how each net's outputs are taken apart."""

import numpy as np
import pytest

from common.errors import DataError, UserError
from common.panoptic.post import POST, SEMANTIC

THINGS = (2, 0)
SURE = 9.0


def test_panoptic_deeplab_takes_its_first_three_outputs():
    semantic, center, offset = np.zeros((3, 2, 4)), np.zeros((1, 2, 4)), np.zeros((2, 2, 4))
    semantic[1, 0] = semantic[2, 1, :3] = 1
    center[0, 1, 0] = 0.5
    outputs = [semantic, center, offset, offset, center]  # of ViP-DeepLab
    found = POST["panoptic_deeplab"](outputs, things=(2,), stuff_area=4, label_divisor=100)
    assert found.tolist() == [[100] * 4, [201, 201, 201, -1]]
    classes = SEMANTIC["panoptic_deeplab"](outputs, things=(2,))
    assert classes.tolist() == [[1] * 4, [2, 2, 2, 0]]
    with pytest.raises(UserError, match="scores are NaN"):
        POST["panoptic_deeplab"]([semantic * np.nan, center, offset], things=(2,))
    with pytest.raises(DataError, match="got 1 outputs"):
        POST["panoptic_deeplab"]([semantic], things=(2,))


@pytest.mark.parametrize("heads", ["paper", "simplified"])
def test_max_deeplab_knows_the_order_of_the_classes(heads):
    # Two slots, of class 2 (a thing) and class 1 (stuff); classes of the paper: 2, 0, 1, void.
    small = SURE * np.array([[[1.0, 0]], [[0, 1.0]]])
    if heads == "paper":
        outputs = {"mask": small, "class": SURE * np.eye(4)[[0, 2]]}
    else:
        whole = small[:, :, [0, 0, 0, 1, 1]]
        outputs = (whole, SURE * np.eye(4)[[3, 2]], np.zeros((4, 1, 2)))  # none, 0, 1, 2
    options = {"thing_area_limit": 1, "stuff_area_limit": 1, "label_divisor": 100}
    found = POST["max_deeplab"](outputs, things=THINGS, **options)
    assert found.tolist() == [[201, 201, 201, 100, 100]]  # exactly between: the first slot
    classes = SEMANTIC["max_deeplab"](outputs, things=THINGS)
    assert classes[0].tolist() == [2, 2, 2, 1, 1]


def test_slots_that_are_unsure_are_void_and_still_have_a_class():
    outputs = (np.zeros((2, 1, 3)), np.array([[0.0, 1, 0], [0, 0, 1]]), None)
    assert (POST["max_deeplab"](outputs, things=(0,)) == -1).all()
    assert (SEMANTIC["max_deeplab"](outputs, things=(0,)) == 0).all()
