"""Files that are whole or absent, whatever moment the process or the machine dies at."""

import glob
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import UserError

TRASH = ".part"  # suffix of what is not finished or no longer wanted


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; at the end it is synced to disk and renamed.

    Raises UserError where it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}{TRASH}")
    try:
        yield draft
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder; one that is there is replaced.

    Raises UserError where it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}{TRASH}")
    try:
        draft.mkdir(parents=True)
        yield draft
        for file in draft.iterdir():
            sync(file)
        sync(draft)
        remove_folder(path)
        draft.rename(path)
        sync(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder so that at no moment half of it stands under its name."""
    if path.exists():
        doomed = path.with_name(f".{path.name}.old{TRASH}")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)


def sweep(folder: Path) -> None:
    """Remove what killed processes left in `folder`."""
    for path in folder.glob(f".*{TRASH}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sweep_drafts(path: Path) -> None:
    """Remove what killed processes left of the folder `path`: drafts whose process is gone."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*{TRASH}"):
        number = draft.name.removesuffix(TRASH).rpartition(".")[2]
        if number.isdecimal() and not _runs(int(number)):
            shutil.rmtree(draft, ignore_errors=True)


def _runs(process: int) -> bool:
    if os.name != "posix":  # elsewhere asking may end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def sync(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def save(figure: Any, path: Path) -> None:
    """Write `figure` as PNG to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png")
    os.replace(partial, path)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to `path` at the end, removed on any failure.

    Raises UserError where the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Background:
    """Computes something in a thread; `result()` waits for it and raises what it raised."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._outcome: list[Any] = []
        self._error: list[BaseException] = []

        def run() -> None:
            try:
                self._outcome.append(function(*arguments))
            except BaseException as error:  # handed on to the caller of result()
                self._error.append(error)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def result(self) -> Any:
        """Return what the function returned."""
        self._thread.join()
        if self._error:
            raise self._error[0]
        return self._outcome[0]
