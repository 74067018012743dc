"""Batches read ahead by threads; the same arrays for any number of them.

Threads rather than processes: decoding, resizing and normalising run outside Python's lock, and
nothing is copied between processes, left behind by a kill, or half-way through a pipe.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from common.data import Batch, SegmentationDataset, read_batches, stack
from common.data.dataset import Key

_Sample = tuple[np.ndarray, np.ndarray]


def load_batches(
    dataset: SegmentationDataset, plan: Iterable[Sequence[Key]], workers: int = 0
) -> Iterator[Batch]:
    """The batches of `plan` in order; with `workers` threads, samples are read in advance.

    Raises DataError where a sample cannot be read, at the batch that holds it.
    """
    if workers == 0:
        yield from read_batches(dataset, plan)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    waiting: deque[list[Future[_Sample]]] = deque()
    try:
        for keys in plan:
            waiting.append([pool.submit(dataset.sample, *key) for key in keys])
            # Enough for every thread to have a sample in hand and one to come.
            if (len(waiting) - 1) * len(keys) >= 2 * workers:
                yield stack([future.result() for future in waiting.popleft()])
        while waiting:
            yield stack([future.result() for future in waiting.popleft()])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def group(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Lists of `size` batches: the micro-batches of an iteration."""
    while True:
        members = [batch for _, batch in zip(range(size), batches, strict=False)]
        if len(members) < size:
            return
        yield members
