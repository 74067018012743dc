"""Batches whose target is several arrays: joined, sent, saved, and asked for a label."""

import numpy as np
import pytest

from common.data import Batch, SegmentationDataset, stack
from common.data.batch import arrays_of, as_given
from common.errors import DataError
from common.processes.batches import batches_of_all, packed, unpacked
from common.processes.group import ALONE
from common.training.faults.saved_step import SavedStep, read_step, write_step
from common.training.loader import load_batches
from tests.common.processes.threads import together


def sample(number, points):
    image = np.full((3, 4, 6), number, np.float32)
    target = {
        "semantic": np.full((4, 6), number, np.int64),
        "offset": np.full((2, 4, 6), number / 8, np.float32),
        "points": [[0, number]] * points,
    }
    return image, target


class Drawn(SegmentationDataset):
    """A set of four images whose target is several arrays."""

    def __init__(self):
        super().__init__([None] * 4)

    def sample(self, epoch, index):
        return sample(index, index)


def test_arrays_are_joined_and_lists_stay_lists():
    batch = stack([sample(1, 0), sample(2, 3)])
    assert batch.target["semantic"].shape == (2, 4, 6)
    assert batch.target["semantic"].dtype == np.int64
    assert batch.target["offset"].shape == (2, 2, 4, 6)
    assert batch.target["points"] == [[], [[0, 2]] * 3]
    assert list(arrays_of(batch.target)) == ["semantic", "offset"]
    given = as_given(batch.target, np.shape)
    assert given == {"semantic": (2, 4, 6), "offset": (2, 2, 4, 6)}
    with pytest.raises(DataError, match="its target is semantic, offset, points"):
        _ = batch.label


def test_a_label_is_a_batch_as_before():
    image, target = sample(1, 0)
    batch = stack([(image, target["semantic"])] * 2)
    assert np.array_equal(batch.label, np.ones((2, 4, 6)))
    assert batch.label is batch.target
    assert as_given(batch.target, np.shape) == (2, 4, 6)


def test_targets_that_do_not_fit_each_other_are_named():
    image, target = sample(1, 0)
    other = {**target, "offset": np.zeros((2, 4, 5), np.float32)}
    with pytest.raises(DataError, match=r"target offset has different shapes"):
        stack([(image, target), (image, other)])
    with pytest.raises(DataError, match="other names"):
        stack([(image, target), (image, {"semantic": target["semantic"]})])
    with pytest.raises(DataError, match="other names"):
        stack([(image, target), (image, target["semantic"])])


def test_what_travels_arrives_to_the_bit():
    batch = stack([sample(1, 1), sample(2, 3)])
    wide = np.array([2**40, -1])
    found, numbers = unpacked(packed([batch.target, wide]))
    assert np.array_equal(numbers, wide)
    assert list(found) == list(batch.target)
    for name, value in batch.target.items():
        assert np.array_equal(found[name], value) if name != "points" else found[name] == value
    assert found["semantic"].dtype == np.int64
    assert found["offset"].dtype == np.float32
    assert unpacked(packed([np.zeros((0, 3))]))[0].shape == (0, 3)


def test_processes_have_the_batches_of_all():
    own = [stack([sample(rank, rank)]) for rank in range(2)]
    assert batches_of_all(own[0], ALONE) == [own[0]]
    for every in together(2, lambda group: batches_of_all(own[group.rank], group)):
        for batch, given in zip(every, own, strict=True):
            assert isinstance(batch, Batch)
            assert np.array_equal(batch.image, given.image)
            assert np.array_equal(batch.target["offset"], given.target["offset"])
            assert batch.target["points"] == given.target["points"]


def test_a_saved_step_keeps_what_the_loss_is_given(tmp_path):
    batch = stack([sample(1, 1), sample(2, 3)])
    about = {"lr": 0.1, "seed": 1, "losses": {"loss": 1.0}, "images": [["a"]], "settings": {}}
    step = SavedStep("torch", "2", "cpu", 3, **about, batches=[batch, batch])
    saved = read_step(write_step(tmp_path, step)).batches
    assert len(saved) == 2
    for one in saved:
        assert np.array_equal(one.image, batch.image)
        assert sorted(one.target) == ["offset", "semantic"]
        for name, array in one.target.items():
            assert np.array_equal(array, batch.target[name])
            assert array.dtype == batch.target[name].dtype


def test_a_reading_process_hands_on_the_same_batches():
    plan = [[(0, 1), (0, 2)], [(0, 3), (0, 0)]]
    alone, ahead = (list(load_batches(Drawn(), plan, workers)) for workers in (0, 1))
    for one, other in zip(alone, ahead, strict=True):
        assert np.array_equal(one.image, other.image)
        assert one.target["points"] == other.target["points"]
        for name, array in arrays_of(one.target).items():
            assert np.array_equal(array, other.target[name])
            assert array.dtype == other.target[name].dtype
