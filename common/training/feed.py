"""From settings to data sets and to the batches of every iteration."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.data import Batch, SegmentationDataset, plan_training, plan_validation
from common.data.broken import name_of, skip_broken, usable_index
from common.data.transforms.images import Transform
from common.errors import ConfigError
from common.settings.data import DATASETS, PhotosData
from common.settings.run import Settings
from common.training.loader import group, load_batches


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
    normalise = data.normalisation.build()
    told = classes.names if isinstance(data, PhotosData) else ()  # by a file, which may change
    trained = SegmentationDataset(
        train, data.transforms(augment), seed=settings.seed, normalisation=normalise
    )
    if data.skip_broken:
        skip_broken(trained)
    names = "\n".join([*(frame.name for frame in (*train.frames, *val.frames)), *told])
    return DataSets(
        trained,
        SegmentationDataset(val, data.validation_transforms(), normalisation=normalise),
        classes.names,
        source.ignore_index,
        classes.colors,
        hashlib.sha256(names.encode()).hexdigest(),
    )


def training_batches(
    dataset: SegmentationDataset, settings: Settings, start: int = 0
) -> Iterator[list[Batch]]:
    """The micro-batches of every iteration from `start` on, without end.

    Of an iteration's micro-batches the first `cards` hold the images that the cards of the recipe
    would get, and so on `iter_size` times.
    Raises ConfigError where the data set does not fill one batch, DataError where a file cannot
    be read.
    """
    data, size = settings.data, settings.data.batch_size
    plan = plan_training(
        len(dataset),
        size,
        seed=settings.seed,
        start_step=start * data.iter_size,
        replicas=data.cards,
    )
    micro = (keys[at : at + size] for keys in plan for at in range(0, len(keys), size))
    return group(load_batches(dataset, micro, data.workers), settings.micro_batches)


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


def validation_batches(dataset: SegmentationDataset, settings: Settings) -> Iterator[Batch]:
    """Every frame of the set once, in order. Raises DataError where a file cannot be read."""
    plan = plan_validation(len(dataset), settings.evaluate.batch_size)
    return load_batches(dataset, plan, settings.data.workers)
