"""One run writes in a folder, or a file, at a time: two would mix their logs and weights.

What a killed run left there goes, with a word.
"""

import json
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from common.documents import json_in
from common.errors import UserError
from common.files import make_folder, sweep_drafts, sweep_inside, whole_file
from common.streams import messages
from common.words.controls import escaped
from common.words.language import phrase

LOCK, HOLDER = ".running.lock", ".running.json"  # in the folder; the second says who it is


@contextmanager
def only_run_in(folder: Path, stays: bool = True) -> Iterator[None]:
    """Hold `folder`, made where it is not there, while the block runs.

    The system gives the lock back however the process ends, so that no dead run holds a folder.
    stays: the empty file that is locked does. Raises UserError that says who holds it, or that the
    folder cannot be written.
    """
    make_folder(folder)
    with _held(folder, folder / LOCK, folder / HOLDER, stays):
        yield


@contextmanager
def only_writer_of(path: Path) -> Iterator[None]:
    """Hold the name `path`, of a file or folder, as `only_run_in` does; nothing stays beside it.

    Raises UserError as that does, and where there is no name.
    """
    lock, holder = _beside(path)
    with _held(path, lock, holder, stays=False):
        yield


@contextmanager
def alone_at(place: Path) -> Iterator[None]:
    """Hold the name of a file or folder while the block runs; make the folder around it.

    Raises UserError that says who holds it, or that nothing can be written there.
    """
    make_folder(place.absolute().parent)
    with only_writer_of(place):
        tell_swept(sweep_drafts(place))
        yield


@contextmanager
def alone_inside(folder: Path) -> Iterator[None]:
    """Hold a folder to which files are added while the block runs, and make it.

    One that was made and stays empty goes. Raises UserError as `alone_at` does.
    """
    new = not folder.exists()
    try:
        with only_run_in(folder, stays=False):
            tell_swept(sweep_inside(folder))
            yield
    finally:
        if new:
            with suppress(OSError):  # there is something in it
                folder.rmdir()


def tell_swept(paths: Iterable[Path]) -> None:
    """Say what killed runs had left and is removed now."""
    if listed := ", ".join(map(str, paths)):
        line = phrase("removed, drafts of a run that was killed: {paths}", paths=listed)
        print(escaped(line), file=messages())


def was_held(path: Path) -> bool:
    """Tell whether somebody holds the name `path`, or was killed while he did."""
    return any(one.exists() for one in _beside(path))


def _beside(path: Path) -> tuple[Path, Path]:
    if not path.name:  # `.`, `/`
        raise UserError(f"{path}: has no name of its own; give the file or folder by its name")
    return path.with_name(f".{path.name}{LOCK}"), path.with_name(f".{path.name}{HOLDER}")


@contextmanager
def _held(place: Path, lock_file: Path, holder: Path, stays: bool) -> Iterator[None]:
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
        if not stays:
            # While it is held: who has opened it meanwhile sees that it has no name any more.
            lock_file.unlink(missing_ok=True)
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
