"""MaX-DeepLab's targets of both layouts, and the objects that the paper's loss sees."""

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.panoptic.max_deeplab.targets import (
    class_order,
    max_deeplab_targets,
    paper_objects,
    strided,
)

THINGS = (2, 0)


def scene():
    """Two things of class 2 (one a crowd), one of class 0, stuff of class 1, and void."""
    ids = np.zeros((4, 6), np.uint32)
    ids[0], ids[1, :4], ids[1, 4:], ids[2] = 7, 3, 9, 5
    segments = [
        {"id": 3, "category_id": 2, "iscrowd": 0, "area": 4},
        {"id": 9, "category_id": 2, "iscrowd": 1, "area": 2},
        {"id": 5, "category_id": 1, "iscrowd": 0, "area": 6},
        {"id": 7, "category_id": 0, "iscrowd": 0, "area": 6},
        {"id": 8, "category_id": 0, "iscrowd": 0, "area": 0},
    ]
    return ids, segments


def test_the_simplified_layout():
    ids, segments = scene()
    found = max_deeplab_targets(ids, segments, style="simplified", max_objects=5)
    assert (found["sizes"].dtype, int(found["sizes"])) == (np.int64, 3)
    assert found["labels"].tolist() == [3, 2, 1, 0, 0]
    assert (found["masks"].dtype, found["masks"].shape) == (np.uint8, (5, 4, 6))
    for row, name in enumerate((3, 5, 7)):
        np.testing.assert_array_equal(found["masks"][row], ids == name)
    assert not found["masks"][3:].any()
    np.testing.assert_array_equal(found["semantic"], np.choose(ids, [0, 0, 0, 3, 0, 2, 0, 1, 0, 3]))


def test_crowds_are_objects_where_they_are_asked_for():
    found = max_deeplab_targets(*scene(), style="simplified", crowds_are_objects=True)
    assert (int(found["sizes"]), found["labels"][:4].tolist()) == (4, [3, 3, 2, 1])
    assert found["masks"].shape[0] == 50


def test_of_too_many_the_largest_are_kept_in_their_order():
    found = max_deeplab_targets(*scene(), style="simplified", max_objects=2)
    assert found["labels"].tolist() == [2, 1]


def test_the_papers_layout():
    ids, segments = scene()
    found = max_deeplab_targets(ids, segments, THINGS, style="paper", max_objects=4)
    assert found["thing_id_class"].tolist() == [2, 0, -1, -1]
    expected = np.where(ids == 3, 0, np.where(ids == 7, 1, -1))
    np.testing.assert_array_equal(found["thing_id_mask"], expected)
    np.testing.assert_array_equal(
        found["semantic"], np.choose(ids, [255, 0, 0, 2, 0, 1, 0, 0, 0, 2])
    )
    default = max_deeplab_targets(ids, segments, THINGS, style="paper")
    assert default["thing_id_class"].shape == (128,)


def test_an_image_without_segments():
    empty = np.zeros((2, 2), np.uint32)
    assert int(max_deeplab_targets(empty, [], style="simplified")["sizes"]) == 0
    assert (max_deeplab_targets(empty, [], style="paper")["thing_id_mask"] == -1).all()


@pytest.mark.parametrize("options", [{"style": "own"}, {"style": "paper", "max_objects": 0}])
def test_unknown_options(options):
    with pytest.raises(ConfigError, match="simplified or paper"):
        max_deeplab_targets(*scene(), **options)


def objects(size_hw=(4, 6), **changes):
    made = max_deeplab_targets(*scene(), THINGS, style="paper", max_objects=3) | changes
    batch = {name: array[None] for name, array in made.items()}
    known = {"things": THINGS, "num_classes": 3, "ignore_label": 255}
    return paper_objects(**batch, **known, size_hw=size_hw)


def test_objects_of_the_papers_loss():
    ids, _ = scene()
    found = objects()
    assert found.channel.tolist() == [[0, 1, -1, 2]]  # two things, none, stuff of class 1
    for row, name in ((0, 3), (1, 7), (3, 5)):
        np.testing.assert_array_equal(found.masks[0, row].reshape(4, 6), ids == name)
    np.testing.assert_array_equal(found.valid[0].reshape(4, 6), ids != 0)
    np.testing.assert_array_equal(found.thing[0].reshape(4, 6), (ids == 3) | (ids == 7))


def test_an_object_that_the_stride_leaves_out_is_none():
    assert objects((2, 3)).channel.tolist() == [[-1, 1, -1, 2]]


def test_classes_and_their_channels():
    assert class_order(THINGS, 4, 255) == [2, 0, 1, 3]
    assert class_order((1,), 3, 0) == [1, 2, 3]  # void among the classes is no channel


@pytest.mark.parametrize(("length", "size"), [(65, 17), (64, 16), (16, 16)])
def test_labels_are_strided(length, size):
    label = np.arange(length * length).reshape(1, length, length)
    step = round(length / size)
    np.testing.assert_array_equal(strided(label, (size, size)), label[:, ::step, ::step])


def test_what_does_not_belong_together():
    with pytest.raises(UserError, match=r"cannot be strided to the net's \[3, 3\]"):
        objects((3, 3))
    with pytest.raises(UserError, match="things of the loss"):
        objects(thing_id_class=np.array([7, 0, -1]))
    with pytest.raises(UserError, match="not among the net's 2 classes"):
        paper_objects(
            *(np.zeros((1, 2, 2), np.int64), np.zeros((1, 2, 2), np.int64), np.zeros((1, 1))),
            things=(5,),
            num_classes=2,
            ignore_label=255,
            size_hw=(2, 2),
        )
