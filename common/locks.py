"""One run in a folder at a time: two would mix their logs and weights and both seem to go well."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from common.errors import UserError
from common.files import make_folder, whole_file

LOCK, HOLDER = ".running.lock", ".running.json"  # in the folder; the second says who it is


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Hold `folder`, made where it is not there, while the block runs.

    The system gives the lock back however the process ends, so that no dead run holds a folder.
    Raises UserError that says who holds it, or that the folder cannot be written.
    """
    make_folder(folder)
    try:
        lock = _taken(folder)
    except Timeout:
        raise UserError(
            f"{folder}: another run writes there{_holder(folder)}; wait for it, or give another "
            "folder"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be locked: {error.strerror or error}") from None
    try:
        with whole_file(folder / HOLDER) as draft:
            draft.write_text(json.dumps(_self()) + "\n", encoding="utf-8")
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _taken(folder: Path) -> FileLock | SoftFileLock:
    path = folder / LOCK
    try:
        lock: FileLock | SoftFileLock = FileLock(path)
        lock.acquire(timeout=0)
    except NotImplementedError:  # a disk without locks, of some networks: the file itself is one
        lock = SoftFileLock(path)
        lock.acquire(timeout=0)
    return lock


def _self() -> dict[str, str | int]:
    return {
        "process": os.getpid(),
        "machine": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
    }


def _holder(folder: Path) -> str:
    """Say who holds the folder, as far as that run wrote it down."""
    try:
        held = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return (
            f" (process {int(held['process'])} on {held['machine']!r} since {held['since']!r}: "
            f"{held['command']!r})"
        )
    except (OSError, ValueError, LookupError, TypeError):
        return ""
