"""Inputs that alignment commands make for a row of the table."""

import numpy as np
import pytest

from commands.subjects.inputs import check_input_shape, read_inputs, seeded_detection
from common.errors import UserError
from common.pairs import PAIRS


@pytest.mark.parametrize("row", PAIRS)
def test_the_input_that_a_row_is_given_can_be_trained_on(row):
    default = PAIRS[row].default_input
    assert check_input_shape(default, default, train=True) == default
    if default[0] > 1:
        with pytest.raises(UserError, match="a batch of at least 2"):
            check_input_shape((1, *default[1:]), default, train=True)


def test_a_detector_gets_a_list_of_images_and_in_train_mode_their_objects():
    (images,) = seeded_detection([[3, 20, 8], [3, 6, 30]], 4, 0, train=False)
    assert [image.shape for image in images] == [(3, 20, 8), (3, 6, 30)]
    _, targets = seeded_detection([[3, 20, 8], [3, 6, 30]], 4, 0, train=True)
    for image, target in zip(images, targets, strict=True):
        boxes, masks = target["boxes"], target["masks"]
        sides = boxes[:, 2:] - boxes[:, :2]
        assert boxes.min() >= 0
        assert (boxes[:, 2:].max(0) <= image.shape[:0:-1]).all()
        assert sides.min() >= 2
        assert target["labels"].tolist() == target["labels"].clip(1, 2).tolist()
        assert masks.sum((1, 2)).tolist() == sides.prod(1).tolist()
    with pytest.raises(UserError, match="--objects takes --input-shape C H W of each image"):
        seeded_detection([[1, 3, 20, 8]], 4, 0, train=False)


def test_a_file_holds_lists_of_images_and_of_dicts(tmp_path):
    path = tmp_path / "batch.npz"
    image, boxes, labels = np.ones((3, 4, 5)), np.ones((2, 4)), np.ones(2, np.int64)
    named = {"arr_0.0": image, "arr_0.1": image[:, :2], "arr_1.0.boxes": boxes}
    np.savez(path, **named, **{"arr_1.0.labels": labels})
    images, targets = read_inputs(str(path))
    assert [each.shape for each in images] == [(3, 4, 5), (3, 2, 5)]
    assert [sorted(each) for each in targets] == [["boxes", "labels"]]
    np.savez(path, **named, arr_1=boxes)
    with pytest.raises(UserError, match=r"arr_1 is an array and holds arr_1\.0\.boxes"):
        read_inputs(str(path))
