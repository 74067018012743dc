"""From settings to data sets and to the batches of every iteration."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from common.data import Batch, SegmentationDataset, plan_training, plan_validation
from common.data.broken import name_of, skip_broken, usable_index
from common.data.transforms.images import Transform
from common.errors import ConfigError
from common.instances.sets.dataset import InstanceDataset
from common.instances.sizes import STRIDE
from common.instances.teach import Teacher
from common.panoptic.dataset import PanopticDataset
from common.panoptic.makers import TargetMaker, as_they_are
from common.processes.group import ALONE, ProcessGroup
from common.settings.data import DATASETS, INSTANCES, PhotosData
from common.settings.panoptic import LABEL
from common.settings.run import Settings
from common.settings.volumes import VolumeKeys
from common.training.loader import grouped, load_batches
from common.volumes.samples import volume_samples


@dataclass(frozen=True)
class DataSets:
    """Training set with augmentation, validation set without, and a fingerprint of both."""

    train: SegmentationDataset
    val: SegmentationDataset
    class_names: tuple[str, ...]
    ignore_index: int
    colors: np.ndarray  # uint8 [256, 3] RGB, by class; void is black
    fingerprint: str


def open_data(settings: Settings, augment: Transform | None = None) -> DataSets:
    """Open both splits; `augment` is an augmentation that is not of our tables.

    Raises DataError saying what is missing, ConfigError for other classes.
    """
    data = settings.data
    source, classes = DATASETS[data.dataset].source, data.classes()
    assert classes is not None, "data of the user's own are opened by commands/subjects"
    if settings.model.num_classes != len(classes):
        raise ConfigError(
            f"model.num_classes is {settings.model.num_classes}, but {data.dataset} has "
            f"{len(classes)} classes ({', '.join(classes.names[:3])}, ...); set it to that, or "
            "leave it out"
        )
    root = str(data.root)
    train = source(root, data.train_split, **data.source_options)
    val = source(root, data.val_split, **data.source_options)
    told = classes.names if isinstance(data, PhotosData) else ()  # by a file, which may change
    trained, validated = _samples(settings, (train, val), augment)
    if data.skip_broken:
        skip_broken(trained)
    names = "\n".join([*(frame.name for frame in (*train.frames, *val.frames)), *told])
    return DataSets(
        trained,
        validated,
        classes.names,
        source.ignore_index,
        classes.colors,
        hashlib.sha256(names.encode()).hexdigest(),
    )


def _samples(
    settings: Settings, sources: tuple[Any, Any], augment: Transform | None
) -> tuple[SegmentationDataset, SegmentationDataset]:
    """Return the samples of training and validation, with the target that the config names."""
    if isinstance(settings.data, VolumeKeys):
        return volume_samples(settings, *sources)
    transforms = settings.data.transforms(augment), settings.data.validation_transforms()
    ways: dict[str, Any] = {"normalisation": settings.data.normalisation.build()}
    trained, validated = sources
    if settings.data.task == INSTANCES:
        target = settings.target
        teacher = Teacher(target.name, settings.model.num_classes, target.options)
        ways |= {"seed": settings.seed, "multiple": STRIDE if target.name == "solo" else 1}
        trained = InstanceDataset(
            trained, teacher, transforms[0], size_hw=settings.data.crop_hw, **ways
        )
        return trained, InstanceDataset(validated, None, transforms[1], **ways)
    if settings.target.name == LABEL:
        samples = SegmentationDataset(trained, transforms[0], seed=settings.seed, **ways)
        return samples, SegmentationDataset(validated, transforms[1], **ways)
    target = settings.target
    maker = TargetMaker(target.name, settings.data.things, target.options)
    return (
        PanopticDataset(trained, maker, transforms[0], seed=settings.seed, **ways),
        PanopticDataset(validated, as_they_are, transforms[1], **ways),
    )


def own_share(settings: Settings, group: ProcessGroup = ALONE) -> range:
    """Numbers of an iteration's micro-batches that this process takes: each `group.size`-th one.

    Raises ConfigError where they cannot be shared out evenly, with numbers of processes that can.
    """
    data, count = settings.data, settings.micro_batches
    if count % group.size == 0:
        return range(group.rank, count, group.size)
    fit = ", ".join(str(size) for size in range(1, count + 1) if count % size == 0)
    images = settings.total_batch
    spread = f"data.cards={group.size} data.iter_size=1 data.batch_size={images // group.size}"
    instead = (
        f"Or set {spread}, which keeps the {images} images of an iteration"
        if images % group.size == 0
        else f"{images} images of an iteration do not divide by {group.size} either"
    )
    raise ConfigError(
        f"an iteration has {count} batches of {data.batch_size} images (data.cards {data.cards} x "
        f"data.iter_size {data.iter_size}), which {group.size} processes cannot share evenly. "
        f"Numbers that fit: {fit}. {instead}"
    )


def training_batches(
    dataset: SegmentationDataset, settings: Settings, start: int = 0, group: ProcessGroup = ALONE
) -> Iterator[list[Batch]]:
    """The micro-batches of every iteration from `start` on, without end: those of `own_share`.

    Of an iteration's micro-batches the first `cards` hold the images that the cards of the recipe
    would get, and so on `iter_size` times.
    Raises ConfigError where the data set does not fill one batch or the processes do not fit,
    DataError where a file cannot be read.
    """
    data, size, share = settings.data, settings.data.batch_size, own_share(settings, group)
    plan = plan_training(
        len(dataset),
        size,
        seed=settings.seed,
        start_step=start * data.iter_size,
        replicas=data.cards,
    )
    micro = (keys[at : at + size] for keys in plan for at in range(0, len(keys), size))
    own = islice(micro, group.rank, None, group.size)
    return grouped(load_batches(dataset, own, data.workers), len(share))


def step_images(dataset: SegmentationDataset, settings: Settings, step: int) -> list[list[str]]:
    """Name the images of iteration `step`, from 0, micro-batch by micro-batch, as they were read.

    Of several processes: those of all.
    """
    data, size = settings.data, settings.data.batch_size
    start = step * data.iter_size
    plan = plan_training(
        len(dataset), size, seed=settings.seed, start_step=start, replicas=data.cards
    )
    indices = [
        index for _, keys in zip(range(data.iter_size), plan, strict=False) for _, index in keys
    ]
    names = [name_of(dataset, usable_index(dataset, index)) for index in indices]
    return [names[at : at + size] for at in range(0, len(names), size)]


class Seeded(Sequence[Batch]):
    """Micro-batches of a step; the framework's generator is seeded anew before each is taken.

    So what a net draws for one does not depend on the process that computes it.
    """

    def __init__(
        self, batches: Sequence[Batch], seed: Callable[[int], None], seeds: Sequence[int]
    ) -> None:
        self.batches, self.seed, self.seeds = batches, seed, seeds

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, place: Any) -> Any:
        return self.batches[place]

    def __iter__(self) -> Iterator[Batch]:
        for batch, seed in zip(self.batches, self.seeds, strict=True):
            self.seed(seed)
            yield batch


def validation_batches(
    dataset: SegmentationDataset, settings: Settings, group: ProcessGroup = ALONE
) -> Iterator[Batch]:
    """Every frame of the set once, in order; of several processes each gets each n-th batch.

    Raises DataError where a file cannot be read.
    """
    plan = plan_validation(len(dataset), settings.evaluate.batch_size)
    return load_batches(dataset, plan[group.rank :: group.size], settings.data.workers)
