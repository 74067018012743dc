"""Reading, the net and writing at the same time: threads, for each spends its time in C."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from common.errors import UserError

Given = TypeVar("Given")
Read = TypeVar("Read")
Made = TypeVar("Made")
AHEAD = 2  # photos that are read in advance, and that wait to be written


@dataclass
class Times:
    """Seconds: of all, and of each part, parts that ran beside each other counted in full."""

    whole: float = 0.0
    parts: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "net": 0.0, "write": 0.0})


class Pipeline(Generic[Given, Read, Made]):
    """Applies `read`, `ask` and `write` to every item, each of them to another one at a time.

    An item's UserError ends that item alone; every other error ends all, and so does one of the
    iteration over the items, which is part of the reading. `times` is added to.
    """

    def __init__(
        self,
        read: Callable[[Given], Read],
        ask: Callable[[Given, Read], Made],
        write: Callable[[Given, Read, Made], None],
        times: Times | None = None,
    ) -> None:
        self._read, self._ask, self._write = read, ask, write
        self.times = times or Times()

    def run(self, items: Iterable[Given]) -> Iterator[tuple[Given, UserError | None]]:
        """Yield every item when it is written, or with its error, in order."""
        begin = time.perf_counter()
        with ThreadPoolExecutor(1) as readers, ThreadPoolExecutor(1) as writers:
            try:
                yield from self._flow(iter(items), readers, writers)
            finally:
                readers.shutdown(cancel_futures=True)
                writers.shutdown(cancel_futures=True)
                self.times.whole += time.perf_counter() - begin

    def _flow(
        self, items: Iterator[Given], readers: ThreadPoolExecutor, writers: ThreadPoolExecutor
    ) -> Iterator[tuple[Given, UserError | None]]:
        def read_on() -> Future[tuple[Given, Read | UserError] | None]:
            return readers.submit(self._timed, "read", self._next, items)

        reading = deque(read_on() for _ in range(AHEAD))
        writing: deque[tuple[Given, Future[None]]] = deque()
        while (found := reading.popleft().result()) is not None:
            item, read = found
            done = self._asked(item, read, writers)
            del found, read  # the photo goes as soon as it is written
            reading.append(read_on())
            writing.append((item, done))
            while len(writing) > AHEAD:
                yield _ended(*writing.popleft())
        while writing:
            yield _ended(*writing.popleft())

    def _next(self, items: Iterator[Given]) -> tuple[Given, Read | UserError] | None:
        """Read the next item; None where there is none."""
        for item in items:
            try:
                return item, self._read(item)
            except UserError as error:
                return item, error
        return None

    def _asked(
        self, item: Given, read: Read | UserError, writers: ThreadPoolExecutor
    ) -> "Future[None]":
        try:
            if isinstance(read, UserError):
                raise read
            made = self._timed("net", self._ask, item, read)
        except UserError as error:
            failed: Future[None] = Future()
            failed.set_exception(error)
            return failed
        return writers.submit(self._timed, "write", self._write, item, read, made)

    def _timed(self, part: str, function: Callable[..., Any], *arguments: Any) -> Any:
        begin = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self.times.parts[part] += time.perf_counter() - begin


def _ended(item: Given, future: "Future[None]") -> tuple[Given, UserError | None]:
    try:
        future.result()
    except UserError as error:
        return item, error
    return item, None
