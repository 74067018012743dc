"""Samples and batches as pure functions of (seed, epoch, index).

Both frameworks' loaders only wrap these. A loader needs two things:
`SegmentationDataset.sample(epoch, index)`, and a plan, which is the list of (epoch, index) keys
of every batch. Both are the same in any process.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count as count_from
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from common.data.batch import Batch, Sample, Target, stack
from common.data.broken import usable_sample
from common.data.transforms.images import Normalisation, Transform
from common.errors import ConfigError, DataError
from common.randomness import choice, epoch_order, sample_generator

EpochIndex = tuple[int, int]  # (epoch, index)


class SampleSource(Protocol):
    """What a data set on disk offers, e.g. `Cityscapes`."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """Image of mode RGB and label of mode L (train ids), of one size."""
        ...


class NamedFrame(Protocol):
    """What stands for one image before it is read."""

    @property
    def name(self) -> str:
        """The image's name, of which the fingerprint of a set is made."""
        ...

    @property
    def image(self) -> Path:
        """The image's file."""
        ...


class DataSource(SampleSource, Protocol):
    """A split of a data set with its classes; every class of `common/data/sets/` is one.

    Attributes:
        class_names, num_classes: its classes; the label holds their indices.
        ignore_index: the label of pixels that do not count.
        colors: uint8 [256, 3] RGB, by class; void is black.
    """

    class_names: tuple[str, ...]
    num_classes: int
    ignore_index: int
    colors: np.ndarray

    def __init__(self, root: str | Path, split: str, **options: Any) -> None: ...

    @property
    def frames(self) -> Sequence[NamedFrame]:
        """The frames in the order of their indices."""
        ...


class SegmentationDataset:
    """A source, its transforms and its normalisation.

    Args:
        source: where images and labels come from.
        transforms: applied in order to (image, label, rng).
        seed: with epoch and index it decides everything that the transforms draw.
        normalisation: of the image; by default ImageNet's.
    """

    def __init__(
        self,
        source: SampleSource,
        transforms: Sequence[Transform] = (),
        *,
        seed: int = 0,
        normalisation: Normalisation | None = None,
    ) -> None:
        self.source = source
        self.transforms = tuple(transforms)
        self.seed = seed
        self.normalisation = normalisation or Normalisation()
        self.skips: tuple[type[Exception], ...] = ()  # see common/data/broken.py
        self.broken: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.source)

    def sample(self, epoch: int, index: int) -> Sample:
        """Image float32 [3, H, W] (normalised) and label int64 [H, W] (void 255).

        Raises:
            DataError: the source could not be read, or a transform does not fit it.
        """
        image, label = self.read(index)
        rng = sample_generator(self.seed, epoch, index)
        try:
            image, label = self.transformed(image, label, rng)
        except DataError as error:
            frames = getattr(self.source, "frames", None)
            raise DataError(f"{frames[index].image if frames else index}: {error}") from None
        return self.normalisation(image), self.target(index, label)

    def batch_of(self, samples: Sequence[Sample]) -> Batch:
        """Join samples to a batch; raises DataError as `common.data.batch.stack` does."""
        return stack(samples)

    def target(self, index: int, label: Any) -> Target:
        """Return what a net is trained on, of a transformed label of frame `index`."""
        return np.array(label, np.int64)

    def read(self, index: int) -> tuple[Any, Any]:
        """Return image and label as they lie; see `SampleSource.read`."""
        return self.source.read(index)

    def transformed(self, image: Any, label: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        """Apply the transforms; one that takes other frames of the set gets them as it asks."""

        def other() -> tuple[Any, Any]:
            return self.read(choice(rng, len(self)))

        for transform in self.transforms:
            more = (other,) if getattr(transform, "takes_others", False) else ()
            image, label = transform(image, label, rng, *more)
        return image, label

    def label(self, index: int) -> np.ndarray:
        """Return a label as it lies, [H, W], void 255; raises DataError as `sample` does."""
        alone = getattr(self.source, "read_label", None)
        return np.asarray(alone(index) if alone else self.source.read(index)[1])


def plan_epoch(
    count: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    shuffle: bool,
    drop_last: bool,
    replicas: int = 1,
) -> list[list[int]]:
    """The batches of one epoch, as lists of indices 0..count-1.

    With `replicas` cards a batch holds replicas * batch_size indices, the first batch_size of them
    for card 0 and so on, and the order is filled up to a multiple of the cards with its own
    beginning: torch's DistributedSampler, which gives the authors 62 batches of 3 x 16 from 2975
    frames. Only whole batches make sense there.

    Raises:
        ConfigError: sizes below 1, several replicas without drop_last, or not one whole batch.
    """
    if batch_size < 1 or replicas < 1:
        raise ConfigError(f"batch: expected at least 1, got size {batch_size}, replicas {replicas}")
    if replicas > 1 and not drop_last:
        raise ConfigError("batch: several replicas need drop_last, their batches must be whole")
    order = epoch_order(seed, epoch, count) if shuffle else np.arange(count)
    order = np.concatenate([order, order[: -count % replicas]])
    total = batch_size * replicas
    stop = len(order) // total * total if drop_last else len(order)
    if drop_last and stop == 0:
        raise ConfigError(
            f"batch: {count} images do not fill one batch of {replicas} x {batch_size}; "
            "make the batch smaller or the data set larger"
        )
    chunks = [order[start : start + total] for start in range(0, stop, total)]
    return [
        np.concatenate([chunk[card::replicas] for card in range(replicas)]).tolist()
        for chunk in chunks
    ]


def plan_training(
    count: int, batch_size: int, *, seed: int, start_step: int = 0, replicas: int = 1
) -> Iterator[list[EpochIndex]]:
    """The keys of every training batch from `start_step` on, shuffled by epoch, without end.

    A run resumed at step k gets the batches that the uninterrupted run would have got.
    """
    per_epoch = (count + -count % replicas) // (batch_size * replicas)
    first, skip = divmod(start_step, max(per_epoch, 1))
    for epoch in count_from(first):
        batches = plan_epoch(
            count,
            batch_size,
            seed=seed,
            epoch=epoch,
            shuffle=True,
            drop_last=True,
            replicas=replicas,
        )
        for batch in batches[skip:]:
            yield [(epoch, index) for index in batch]
        skip = 0


def plan_validation(count: int, batch_size: int) -> list[list[EpochIndex]]:
    """The keys of every validation batch: each index once, in order; the last may be small."""
    batches = plan_epoch(count, batch_size, seed=0, epoch=0, shuffle=False, drop_last=False)
    return [[(0, index) for index in batch] for batch in batches]


def read_batches(
    dataset: SegmentationDataset, plan: Iterable[Sequence[EpochIndex]]
) -> Iterator[Batch]:
    """The batches of a plan, one after the other, in this process."""
    for keys in plan:
        yield dataset.batch_of([usable_sample(dataset, epoch, index) for epoch, index in keys])
