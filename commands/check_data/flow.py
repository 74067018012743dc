"""Open the splits that a config names, read every frame, draw, tell."""

import argparse
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from commands.check_data.pictures import draw_classes, draw_samples
from commands.check_data.result import as_json, show
from commands.entry import CHECKED_BAD, CHECKED_GOOD, print_json
from commands.subjects.named.config import read_config
from common.data import SegmentationDataset
from common.data.dataset import DataSource
from common.data.readers import become_a_reader
from common.data.survey import UNPAIRED, UNUSABLE, Finding, Look, Survey, look_at
from common.errors import ConfigError, DataError, UnpairedError, UserError
from common.files import make_folder
from common.settings.data import DATASETS, ListData, NoAugmentation
from common.settings.own import OwnAugmentation
from common.settings.run import Settings
from common.terminal import screen
from common.words.language import phrase

Sources = dict[str, DataSource]
AT_ONCE = 8  # frames that a process is given
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
        many = sum(survey.frames.values()) > FEW
        workers = min(os.cpu_count() or 1, MOST_WORKERS) if many else 0
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

    Raises DataError where there is nothing to read, ConfigError for data that are callables.
    """
    data, classes = settings.data, settings.data.classes()
    if classes is None:
        raise ConfigError(
            "data: is a callable of your own, whose files are not known here; this command reads "
            f"sets of our own kinds: data.dataset is one of {', '.join(DATASETS)}"
        )
    splits = dict.fromkeys((data.train_split, data.val_split))
    if isinstance(data, ListData) and data.test_path:
        splits["test"] = None
    sources: Sources = {}
    lonely: dict[str, Finding] = {}
    for split in splits:
        try:
            row = DATASETS[data.dataset]
            sources[split] = row.source(str(data.root), split, **data.source_options)
        except UnpairedError as error:
            sources[split] = error.source
            for kind, names in error.problems.items():
                lonely |= {n: Finding(n, split, f"{n}: {kind}") for n in names if n not in lonely}
    others = {UNPAIRED: list(lonely.values())} if lonely else {}
    frames = {split: len(source) for split, source in sources.items()}
    return sources, Survey(classes.names, frames, others=others)


def read_all(sources: Sources, workers: int) -> Iterator[Look]:
    """Look at every frame of every split, with so many processes (0: in this one)."""
    keys = [(split, index) for split, source in sources.items() for index in range(len(source))]
    if not workers:
        for split, index in keys:
            yield look_at(sources[split], split, index)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(sources,))
    try:
        yield from pool.map(_look, keys, chunksize=AT_ONCE)
    except BrokenProcessPool:
        raise DataError(
            "a process that read images was ended from outside, probably for want of memory; "
            "give fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_sources: Sources  # in a reading process: what it reads


def _begin(sources: Sources) -> None:
    global _sources
    _sources = sources
    become_a_reader()


def _look(key: tuple[str, int]) -> Look:
    split, index = key
    return look_at(_sources[split], split, index)


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
    data, classes = settings.data, settings.data.classes()
    if isinstance(data.augmentation, OwnAugmentation):  # a callable of a framework: crops alone
        data = data.model_copy(update={"augmentation": NoAugmentation(name="none")})
    assert classes is not None
    written = [folder / "classes.png"]
    draw_classes(survey, classes, written[0])
    dataset = SegmentationDataset(
        sources[data.train_split],
        data.transforms(),
        seed=settings.seed,
        normalisation=data.normalisation.build(),
    )
    good = [k.place for k in survey.looks if k.split == data.train_split and not k.problem]
    samples: dict[str, Any] = {}
    for index in good[:: max(len(good) // SAMPLES, 1)][:SAMPLES]:
        frame = dataset.source.frames[index]  # type: ignore[attr-defined]  # a DataSource
        try:
            samples[frame.name] = dataset.sample(0, index)
        except UserError as error:
            finding = Finding(str(frame.image), data.train_split, str(error))
            survey.others.setdefault(UNUSABLE, []).append(finding)
    if samples:
        written.append(folder / "samples.png")
        draw_samples(samples, dataset.normalisation, classes, written[1])
    return written
