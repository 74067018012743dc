"""Processes that read files beside the one that a person started."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any, TypeVar

from common.errors import DataError
from common.processes.handed import packed, unpacked
from common.processes.stop import signals_wait

AT_ONCE = 8  # items that a process is given
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def become_a_reader() -> None:
    """Prepare a reading process: it outlives no parent, and leaves signals to it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


_packed = b""  # in a reading process: what it does with each item


def in_processes(
    work: Callable[[_Item], _Result], items: Iterable[_Item], count: int
) -> Iterator[_Result]:
    """Yield what `work` gives for each of `items`, in their order, by `count` new processes.

    `work` is handed to each of them once. What it raises is raised; DataError where one was ended.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(packed(work),))
    try:
        with signals_wait():  # which would end a process that is still starting
            results = pool.map(_do, items, chunksize=AT_ONCE)
        yield from results
    except BrokenProcessPool:
        raise DataError(
            "a process that read images was ended from outside, probably for want of memory; "
            "give fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin(work: bytes) -> None:
    global _packed
    _packed = work
    become_a_reader()


@cache
def _work() -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = unpacked(_packed)
    return found


def _do(item: Any) -> Any:
    return _work()(item)
