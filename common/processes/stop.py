"""Ctrl-C and SIGTERM as a request that is granted between two steps, by all processes at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from common.processes.group import ALONE, ProcessGroup, ProcessLostError, ended_elsewhere

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Let signals that ask to stop wait for the end of a call that they would break.

    A process that starts meanwhile is never told of them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class StopRequest:
    """Context in which the first signal is noted; a second one acts as ever.

    Of several processes each notes its own, and `signal` is what all know since they were last
    `together`; further ones are no more than the first, for launchers repeat themselves and kill
    what does not end. Outside the main thread, where Python lets nobody listen to signals, it
    notes none.
    """

    def __init__(self, group: ProcessGroup = ALONE) -> None:
        self.group = group
        self._noted: int | None = None
        self._agreed: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def signal(self) -> int | None:
        """The number of the signal that asks to stop; the same on all processes."""
        return self._agreed if self.group.several else self._noted

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do something on all processes; where it fails on one it fails on all.

        After it all know the same `signal`. Raises EndedElsewhereError where another one failed.
        """
        if not self.group.several:
            yield
            return
        try:
            yield
        except ProcessLostError:
            raise
        except Exception as error:
            self._tell(getattr(error, "exit_code", 2))
            raise
        failed = self._tell(0)
        if failed is not None:
            raise ended_elsewhere(failed[0], self.group.size, failed[1])

    def _tell(self, code: int) -> tuple[int, int] | None:
        """Tell all what this process knows; return number and exit code of one that failed."""
        told = np.zeros((2, self.group.size), np.int64)
        told[:, self.group.rank] = self._noted or 0, code
        signals, codes = self.group.add(told)
        self._agreed = int(signals.max()) or None
        failed = np.flatnonzero(codes)
        return (int(failed[0]), int(codes[failed[0]])) if failed.size else None

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = self._noted or number
        if not self.group.several:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # None: installed by a library's C code, which cannot be put back from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
