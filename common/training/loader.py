"""Batches read ahead by other processes; the same arrays for any number of them.

Processes, not threads: Pillow holds Python's lock in most of what the augmentation does. They are
started afresh (not forked), so that no state of a framework or its threads comes along.
"""

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache

import numpy as np

from common.data import Batch, SegmentationDataset, read_batches
from common.data.batch import Target
from common.data.broken import usable_sample
from common.data.dataset import EpochIndex
from common.data.readers import become_a_reader
from common.errors import DataError
from common.processes.handed import packed, unpacked
from common.processes.stop import signals_wait

_Read = tuple[np.ndarray, Target, dict[int, str]]  # image, target, broken frames
_packed = b""  # in a reading process: what it was handed


def load_batches(
    dataset: SegmentationDataset, plan: Iterable[Sequence[EpochIndex]], workers: int = 0
) -> Iterator[Batch]:
    """The batches of `plan` in order; with `workers` processes, samples are read in advance.

    Raises DataError where a sample cannot be read, at the batch that holds it.
    """
    if workers == 0:
        yield from read_batches(dataset, plan)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(packed(dataset),))
    waiting: deque[list[Future[_Read]]] = deque()
    try:
        for keys in plan:
            with signals_wait():  # which would end a process that is still starting
                waiting.append([pool.submit(_read, *key) for key in keys])
            # Enough for every process to have a sample in hand and one to come.
            if (len(waiting) - 1) * len(keys) >= 2 * workers:
                yield _join(dataset, waiting.popleft())
        while waiting:
            yield _join(dataset, waiting.popleft())
    except BrokenProcessPool:
        raise DataError(
            "a process that read images was ended from outside, probably for want of memory; "
            "lower data.workers"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Lists of `size` batches: the micro-batches of an iteration."""
    while True:
        members = [batch for _, batch in zip(range(size), batches, strict=False)]
        if len(members) < size:
            return
        yield members


def _join(dataset: SegmentationDataset, futures: Sequence[Future[_Read]]) -> Batch:
    samples = [future.result() for future in futures]
    for _, _, broken in samples:
        dataset.broken.update(broken)
    return dataset.batch_of([(image, _as_read(target)) for image, target, _ in samples])


def _begin(dataset: bytes) -> None:
    """Prepare a reading process."""
    global _packed
    _packed = dataset
    become_a_reader()


@cache
def _dataset() -> SegmentationDataset:
    """Return what a reading process reads. Raises DataError where it cannot be made there."""
    found: SegmentationDataset = unpacked(_packed)
    return found


def _read(epoch: int, index: int) -> _Read:
    """Read a sample; a label, train ids and void, travels as uint8."""
    dataset = _dataset()
    dataset.broken.clear()
    image, target = usable_sample(dataset, epoch, index)
    if isinstance(target, np.ndarray):
        target = target.astype(np.uint8)
    return image, target, dict(dataset.broken)


def _as_read(target: Target) -> Target:
    """Return a target that travelled as the data set gave it."""
    return target.astype(np.int64) if isinstance(target, np.ndarray) else target
