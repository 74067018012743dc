import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice

import numpy as np
import pytest
from PIL import Image

from common.data import (
    SegmentationDataset,
    plan_epoch,
    plan_training,
    plan_validation,
    read_batches,
    stack,
)
from common.data.transforms.recipes import stdc
from common.errors import ConfigError, DataError


class Frames:
    """A source in memory: `count` frames of 64 x 32."""

    def __init__(self, count):
        rng = np.random.default_rng(0)
        self.frames = [
            (
                Image.fromarray(rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)),
                Image.fromarray(rng.choice([0, 5, 18, 255], (32, 64)).astype(np.uint8)),
            )
            for _ in range(count)
        ]

    def __len__(self):
        return len(self.frames)

    def read(self, index):
        return self.frames[index]


@pytest.fixture(scope="module")
def training():
    return SegmentationDataset(Frames(9), stdc((16, 32), (0, 0, 0)), seed=3)


def digest(samples):
    sha = hashlib.sha1()
    for image, label in samples:
        sha.update(image.tobytes() + label.tobytes())
    return sha.hexdigest()


def test_a_sample_has_its_layout_and_dtype(training):
    image, label = training.sample(0, 1)
    assert (image.shape, image.dtype) == ((3, 16, 32), np.float32)
    assert (label.shape, label.dtype) == ((16, 32), np.int64)
    assert set(np.unique(label)) <= {0, 5, 18, 255}


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_samples_do_not_depend_on_the_workers_or_the_order(training, workers):
    keys = [(epoch, index) for epoch in (0, 1) for index in range(9)]
    alone = {key: training.sample(*key) for key in reversed(keys)}
    with ThreadPoolExecutor(workers) as pool:
        together = list(pool.map(lambda key: training.sample(*key), keys))
    assert digest(together) == digest(alone[key] for key in keys)


def test_seed_epoch_and_index_each_change_the_augmentation():
    source = Frames(1)
    source.frames *= 2
    first = SegmentationDataset(source, stdc((16, 32), (0, 0, 0)), seed=0)
    other = SegmentationDataset(source, stdc((16, 32), (0, 0, 0)), seed=1)
    samples = [first.sample(0, 0), first.sample(1, 0), first.sample(0, 1), other.sample(0, 0)]
    assert len({digest([sample]) for sample in samples}) == 4


def test_the_validation_path_is_the_frame_itself():
    data = SegmentationDataset(Frames(2))
    image, label = data.sample(0, 1)
    assert image.shape == (3, 32, 64)
    assert (label == np.asarray(data.source.read(1)[1])).all()
    assert digest([data.sample(5, 1)]) == digest([(image, label)])


def test_an_epoch_holds_each_index_once_and_drops_the_rest():
    kept = plan_epoch(10, 4, seed=0, epoch=0, shuffle=True, drop_last=True)
    assert [len(batch) for batch in kept] == [4, 4]
    whole = plan_epoch(10, 4, seed=0, epoch=0, shuffle=True, drop_last=False)
    assert whole[:2] == kept
    assert sorted(chain(*whole)) == list(range(10))
    assert plan_validation(5, 2) == [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]


def test_three_cards_get_what_the_authors_sampler_gives_them():
    """DistributedSampler: filled up to 2976, every third index to a card, 62 batches of 3 x 16."""
    plan = plan_epoch(2975, 16, seed=0, epoch=4, shuffle=True, drop_last=True, replicas=3)
    order = list(chain(*plan_epoch(2975, 1, seed=0, epoch=4, shuffle=True, drop_last=False)))
    order.append(order[0])
    assert len(plan) == 62
    for card in range(3):
        got = list(chain(*(batch[16 * card : 16 * card + 16] for batch in plan)))
        assert got == order[card::3]


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("start", [0, 1, 4, 11])
def test_a_resumed_plan_goes_on_where_it_stopped(start, replicas):
    plan = {"seed": 7, "replicas": replicas}
    through = list(islice(plan_training(9, 2, **plan), 16))
    resumed = list(islice(plan_training(9, 2, **plan, start_step=start), 16 - start))
    assert resumed == through[start:]
    assert [key[0] for batch in through for key in batch] == sorted(
        key[0] for batch in through for key in batch
    )


def test_batches_are_the_stacked_samples(training):
    keys = [[(0, 4), (0, 2)], [(1, 0)]]
    batches = list(read_batches(training, keys))
    assert [batch.image.shape for batch in batches] == [(2, 3, 16, 32), (1, 3, 16, 32)]
    assert batches[0].label.dtype == np.int64
    assert (batches[0].image[1] == training.sample(0, 2)[0]).all()


def test_what_cannot_be_a_batch():
    common = {"seed": 0, "epoch": 0, "shuffle": True}
    with pytest.raises(ConfigError, match="20 images do not fill one batch of 3 x 16"):
        plan_epoch(20, 16, **common, drop_last=True, replicas=3)
    with pytest.raises(ConfigError, match="at least 1, got size 0"):
        plan_epoch(20, 0, **common, drop_last=True)
    with pytest.raises(ConfigError, match="replicas need drop_last"):
        plan_epoch(20, 2, **common, drop_last=False, replicas=2)
    with pytest.raises(ConfigError, match="do not fill"):
        next(plan_training(3, 4, seed=0))
    small, large = (np.zeros((3, n, n), np.float32) for n in (2, 4))
    with pytest.raises(DataError, match="different sizes"):
        stack([(small, small[0]), (large, large[0])])
