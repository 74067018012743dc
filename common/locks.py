"""One run writes in a folder, or a file, at a time: two would mix their logs and weights."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from common.documents import json_in
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
    with _held(folder, folder / LOCK, folder / HOLDER):
        yield


@contextmanager
def only_writer_of(path: Path) -> Iterator[None]:
    """Hold the name `path`, of a file or folder, as `only_run_in` does; nothing stays beside it.

    Raises UserError as that does, and where there is no name.
    """
    lock, holder = _beside(path)
    with _held(path, lock, holder):
        try:
            yield
        finally:
            # While it is held: who has opened it meanwhile sees that it has no name any more.
            lock.unlink(missing_ok=True)


def was_held(path: Path) -> bool:
    """Tell whether somebody holds the name `path`, or was killed while he did."""
    return any(one.exists() for one in _beside(path))


def _beside(path: Path) -> tuple[Path, Path]:
    if not path.name:  # `.`, `/`
        raise UserError(f"{path}: has no name of its own; give the file or folder by its name")
    return path.with_name(f".{path.name}{LOCK}"), path.with_name(f".{path.name}{HOLDER}")


@contextmanager
def _held(place: Path, lock_file: Path, holder: Path) -> Iterator[None]:
    try:
        lock = _taken(lock_file)
    except Timeout:
        raise UserError(
            f"{place}: another run writes there{_holder(holder)}; wait for it, or write elsewhere"
        ) from None
    except OSError as error:
        raise UserError(f"{place}: cannot be locked: {error.strerror or error}") from None
    try:
        with whole_file(holder) as draft:
            draft.write_text(json.dumps(_self()) + "\n", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _taken(path: Path) -> FileLock | SoftFileLock:
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


def _holder(note: Path) -> str:
    """Say who holds it, as far as that run wrote it down."""
    try:
        held = json_in(note)
        return (
            f" (process {int(held['process'])} on {held['machine']!r} since {held['since']!r}: "
            f"{held['command']!r})"
        )
    except (OSError, ValueError, LookupError, TypeError, UserError):
        return ""
