"""A file of tensors as it lies on disk: its bytes, mapped, and what tells it was changed."""

import mmap
import os
from pathlib import Path
from typing import BinaryIO

from common.environment import memory_bytes
from common.errors import UnreadableError
from common.files import may_map, require_file


def mapped(path: Path) -> memoryview:
    """Return the bytes of a file: they are read when they are used. Raises UnreadableError.

    After `common.files.forbid_maps` they are read at once, which takes memory of the file's size.
    """
    try:
        if path.is_dir():
            raise UnreadableError(f"{path}: a folder, not a checkpoint file")
        with require_file(path).open("rb") as file:
            if not file.seek(0, 2):
                raise UnreadableError(f"{path}: the file is empty; download or save it again")
            if not may_map():
                return _read(path, file)
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        whole = Path(path).absolute()
        said = "" if str(whole) == str(path) else f" ({whole})"
        raise UnreadableError(f"{path}: no such file{said}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableError(f"{path}: cannot be read: {reason}") from None


def _read(path: Path, file: BinaryIO) -> memoryview:
    """Return a copy of the bytes of a file, of one moment as far as its stamp tells."""
    before, memory = os.fstat(file.fileno()), memory_bytes()
    if before.st_size > memory:
        raise UnreadableError(
            f"{path}: has {before.st_size / 2**30:.1f} GB, and this machine has "
            f"{memory / 2**30:.1f} GB of memory: copy it where there is more"
        )
    copy = mmap.mmap(-1, before.st_size)  # of nobody's file
    file.seek(0)
    count = file.readinto(copy)  # type: ignore[attr-defined]  # of an open file
    if count != before.st_size or _stamp(os.fstat(file.fileno())) != _stamp(before):
        raise changed(path)
    return memoryview(copy).toreadonly()


def changed(path: Path) -> UnreadableError:
    """Return the error of a file that is another than when it was opened."""
    return UnreadableError(f"{path}: was changed while it was read; run it again")


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what tells that a file was changed or replaced; () where it is not there.

    The time of the last change of any kind is among it: who sets a time back changes that.
    """
    try:
        return _stamp(path.stat())
    except (OSError, ValueError):
        return ()


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    times = found.st_mtime_ns, found.st_ctime_ns
    return found.st_dev, found.st_ino, found.st_size, *times
