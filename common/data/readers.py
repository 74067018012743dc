"""Processes that read files beside the one that a person started."""

import multiprocessing
import os
import signal
import threading


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
