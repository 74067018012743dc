"""A file of tensors as it lies on disk: its bytes, mapped, and what tells it was changed."""

import mmap
from pathlib import Path

from common.errors import UnreadableError
from common.files import require_file


def mapped(path: Path) -> memoryview:
    """Return the bytes of a file: they are read when they are used. Raises UnreadableError."""
    try:
        if path.is_dir():
            raise UnreadableError(f"{path}: a folder, not a checkpoint file")
        with require_file(path).open("rb") as file:
            if not file.seek(0, 2):
                raise UnreadableError(f"{path}: the file is empty; download or save it again")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        whole = Path(path).absolute()
        said = "" if str(whole) == str(path) else f" ({whole})"
        raise UnreadableError(f"{path}: no such file{said}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableError(f"{path}: cannot be read: {reason}") from None


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what tells that a file was changed or replaced; () where it is not there.

    The time of the last change of any kind is among it: who sets a time back changes that.
    """
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ()
    times = found.st_mtime_ns, found.st_ctime_ns
    return found.st_dev, found.st_ino, found.st_size, *times
