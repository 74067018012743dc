"""Open the splits that a config names, read every frame, draw, tell."""

import argparse
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from commands.check_data.pictures import Drawn, Shown, draw_classes, draw_samples
from commands.check_data.result import as_json, show
from commands.check_data.users import UsersSplit, own_augmentation, users_splits
from commands.check_data.volumes import drawer_of_volumes
from commands.entry import CHECKED_BAD, CHECKED_GOOD, print_json
from commands.subjects.named.config import read_config
from commands.subjects.named.own.samples import OwnAugment
from common.data import SegmentationDataset
from common.data.dataset import DataSource
from common.data.readers import in_processes
from common.data.survey import UNPAIRED, UNUSABLE, Finding, Look, Survey, look_at
from common.errors import DataError, UnknownLabelsError, UnpairedError, UserError
from common.files import make_folder
from common.instances.sets.coco import CocoInstances, topmost
from common.instances.sets.dataset import InstanceDataset
from common.instances.teach import Teacher
from common.locks import alone_inside
from common.panoptic.dataset import PanopticDataset
from common.panoptic.segments import Segment, outlines_of, semantic_of
from common.panoptic.sets.base import PanopticSet
from common.processes.handed import packed
from common.settings.data import DATASETS, ListData
from common.settings.run import Settings
from common.terminal import screen
from common.volumes.set import VolumeSet
from common.words.language import phrase

Sources = Mapping[str, DataSource | UsersSplit]
FEW = 200  # frames that this process reads alone as fast
MOST_WORKERS = 8
SAMPLES = 8


def check(options: argparse.Namespace) -> int:
    """Read the data set of a config, tell what was found, return the exit code."""
    settings = read_config(options.config, options.overrides)
    folder = options.output or Path("runs") / f"{settings.name}_data"
    sources, survey = open_splits(settings)
    workers = options.workers
    if workers is None:
        users = any(isinstance(source, UsersSplit) for source in sources.values())
        many = sum(survey.frames.values()) > FEW and not users
        workers = min(os.cpu_count() or 1, MOST_WORKERS) if many else 0
    with alone_inside(folder):
        for look in _watched(read_all(sources, workers), survey, options.quiet):
            survey.looks.append(look)
        pictures = _draw(settings, sources, survey, folder)
    result = as_json(settings, survey, pictures)
    if options.json:
        print_json(result)
    else:
        show(settings, survey, pictures, options.quiet)
    return CHECKED_BAD if survey.findings else CHECKED_GOOD


def open_splits(settings: Settings) -> tuple[Sources, Survey]:
    """Open every split that the config names; what lacks its partner is a finding.

    Raises DataError where there is nothing to read, UserError as the user's own callable does.
    """
    data, classes = settings.data, settings.data.classes()
    if classes is None:
        users, classes = users_splits(settings)
        return users, Survey(classes, {split: len(found) for split, found in users.items()})
    splits = dict.fromkeys((data.train_split, data.val_split))
    if isinstance(data, ListData) and data.test_path:
        splits["test"] = None
    sources: dict[str, DataSource] = {}
    lonely: dict[str, Finding] = {}
    for split in splits:
        try:
            row = DATASETS[data.dataset]
            sources[split] = row.source(str(data.root), split, **data.source_options)
        except UnpairedError as error:
            sources[split] = error.source
            for kind, names in error.problems.items():
                lonely |= {n: Finding(n, split, f"{n}: {kind}") for n in names if n not in lonely}
        except UnknownLabelsError as error:
            if error.source is None:
                raise
            sources[split] = error.source  # whose frames tell it, each of itself
    others = {UNPAIRED: list(lonely.values())} if lonely else {}
    frames = {split: len(source) for split, source in sources.items()}
    objects = {
        split: {"dropped": source.dropped, "left_out": source.empty}
        for split, source in sources.items()
        if isinstance(source, CocoInstances)
    }
    return sources, Survey(classes, frames, others=others, objects=objects)


def read_all(sources: Sources, workers: int) -> Iterator[Look]:
    """Look at every frame of every split, with so many processes (0: in this one)."""
    keys = [(split, index) for split, source in sources.items() for index in range(len(source))]
    if not workers:
        yield from map(partial(_look, sources), keys)
        return
    try:
        packed(sources)
    except Exception as error:  # of a user's data set
        raise DataError(
            f"data: cannot be handed to other processes ({error}); give --workers 0, or keep in it "
            "only what Python can pickle"
        ) from None
    yield from in_processes(partial(_look, sources), keys, workers)


def _look(sources: Sources, key: tuple[str, int]) -> Look:
    split, index = key
    return _looked(sources[split], split, index)


def _looked(source: DataSource | UsersSplit, split: str, index: int) -> Look:
    if isinstance(source, UsersSplit | VolumeSet):
        return source.look(split, index)
    return look_at(source, split, index)


def _watched(looks: Iterator[Look], survey: Survey, quiet: bool) -> Iterator[Look]:
    """Hand on `looks`, and move a bar on stderr where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = screen(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(phrase("reading"), total=sum(survey.frames.values()))
        for look in looks:
            yield look
            bar.advance(task)


def _draw(settings: Settings, sources: Sources, survey: Survey, folder: Path) -> list[Path]:
    """Write the pictures; what the augmentation refuses becomes a finding."""
    make_folder(folder)
    split = settings.data.train_split
    written, drawn_as = [folder / "classes.png"], _drawer(settings, sources[split])
    draw_classes(survey, written[0])
    good = [look.place for look in survey.looks if look.split == split and not look.problem]
    samples: dict[str, Any] = {}
    for index in good[:: max(len(good) // SAMPLES, 1)][:SAMPLES]:
        name, file, draw = drawn_as(index)
        try:
            samples[name] = draw()
        except UserError as error:
            survey.others.setdefault(UNUSABLE, []).append(Finding(file, split, str(error)))
    if samples:
        written.append(folder / "samples.png")
        draw_samples(samples, survey.classes, written[1])
    return written


def _drawer(settings: Settings, source: DataSource | UsersSplit) -> Callable[[int], Drawn]:
    """Return what gives (name, file, function that draws the training sample) of an index."""
    if isinstance(source, UsersSplit):
        users = source
        named = "item {}".format
        return lambda i: (named(i), named(i), lambda: Shown(*users.sample(i)))
    if isinstance(source, VolumeSet):
        return drawer_of_volumes(settings, source)
    frames, dataset = source.frames, _samples(settings, source)

    def sample(index: int) -> Shown:
        image, target = dataset.sample(0, index)
        picture = dataset.normalisation.to_rgb(image[None])[0]
        if isinstance(source, CocoInstances):
            return of_objects(picture, target)
        return Shown(picture, **target if isinstance(target, dict) else {"label": target})

    return lambda i: (frames[i].name, str(frames[i].image), lambda: sample(i))


def _samples(settings: Settings, source: DataSource) -> SegmentationDataset:
    """Return the training samples of a source; of a panoptic one with outlines of its segments.

    A step that lays frames together takes classes alone.
    """
    augment = own_augmentation(settings)
    transforms = settings.data.transforms(None if augment is None else OwnAugment(augment))
    ways: dict[str, Any] = {
        "seed": settings.seed,
        "normalisation": settings.data.normalisation.build(),
    }
    if isinstance(source, CocoInstances):  # its samples are images and objects
        return InstanceDataset(source, Teacher("objects", source.num_classes), transforms, **ways)
    mixes = any(getattr(step, "takes_others", False) for step in transforms)
    if isinstance(source, PanopticSet) and not mixes:
        return PanopticDataset(source, labels_and_outlines, transforms, **ways)
    return SegmentationDataset(source, transforms, **ways)


def of_objects(picture: np.ndarray, objects: Any) -> Shown:
    """Return what is drawn of objects: their classes, and the outlines of masks and boxes."""
    label, numbers = topmost(objects, picture.shape[:2])
    outlines = outlines_of(numbers)
    boxes = np.zeros(outlines.shape, np.uint8)
    for left, top, right, bottom in objects["boxes"].round().astype(int).tolist():
        cv2.rectangle(boxes, (left, top), (right - 1, bottom - 1), 1, 1)
    return Shown(picture, label.astype(np.int64), outlines | (boxes > 0))


def labels_and_outlines(ids: np.ndarray, segments: list[Segment]) -> dict[str, np.ndarray]:
    """Return what is drawn of segments: their classes uint8 [H, W], and where they end, bool."""
    return {"label": semantic_of(ids, segments), "outlines": outlines_of(ids)}
