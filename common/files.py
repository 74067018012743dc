"""Files that are whole or absent, whatever moment the process or the machine dies at.

Every file that a reader may find under its name is written by `whole_file`, every folder by
`whole_folder`: to a draft beside it, synced to disk, renamed. Only logs grow in place.
"""

import errno
import glob
import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import UnreadableError, UserError

TRASH = ".part"  # suffix of what is not finished or no longer wanted
OLD, GONE = "old", "gone"  # before it: what is being replaced, and what is being removed


_may_map = True


def forbid_maps() -> None:
    """From now on this process reads files instead of mapping them, which takes their size.

    A mapped file that is cut short ends the process (SIGBUS): for one that nobody watches.
    """
    global _may_map
    _may_map = False


def may_map() -> bool:
    """Tell whether this process may map a file that others can change."""
    return _may_map


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; at the end it is synced to disk and renamed.

    On any failure it is removed, and what stood under `path` stands there still. The file has the
    permissions of any new one. Raises UserError where it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}{TRASH}")
    try:
        yield draft
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder; one that is there is replaced, and goes only when the new one stands.

    Raises UserError where it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}{TRASH}")
    try:
        draft.mkdir(parents=True)
        yield draft
        for file in draft.rglob("*"):
            sync(file)
        sync(draft)
        _swap(draft, path)
        sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def require_file(path: Path) -> Path:
    """Return `path` where it is a file, or is not there: nobody waits for a pipe to speak.

    Raises UnreadableError for folders, pipes, devices and sockets, and links to them.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever opens it says so
        return path
    if not stat.S_ISREG(mode):
        raise UnreadableError(f"{path}: is {_KINDS.get(stat.S_IFMT(mode), 'special')}, not a file")
    return path


def require_there(path: Path) -> Path:
    """Return `path` where it is a file. Raises UnreadableError, also where there is none."""
    if not require_file(path).exists():
        raise UnreadableError(f"{path}: no such file")
    return path


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def is_beside(name: str) -> bool:
    """Tell whether a name that a file gives can be that of a file in its own folder."""
    return Path(name).name == name != "" and name != ".." and "\\" not in name and len(name) < 256


def is_below(name: str) -> bool:
    """Tell whether a path that a file gives leads to a file below a folder, and to none outside."""
    path = Path(name)
    return path.name != "" and not path.is_absolute() and ".." not in path.parts


def check_outputs(
    outputs: Iterable[Path],
    inputs: Iterable[Path] = (),
    force: bool = False,
    ours: Callable[[Path], bool] = lambda path: False,
) -> None:
    """Raise UserError where files would be written over what is read, or unasked over others.

    To be called before anything is written, with all that will be. An input is refused under any
    of its names (links) and whatever `force` says. ours: tells what may be replaced without it.
    """
    read = {identity: path for path in inputs for identity in _identities(path)}
    written: set[Any] = set()
    for path in outputs:
        known = _identities(path)
        if over := next((read[one] for one in known if one in read), None):
            raise UserError(f"{path}: would be written over {over}, which is read; choose another")
        if written & known:
            raise UserError(f"{path}: would be written twice; give each output its own name")
        written |= known
        if path.is_dir():
            raise UserError(f"{path}: a folder; name a file in it")
        if os.path.lexists(path) and not force and not ours(path):
            raise UserError(f"{path}: exists already; --force replaces it, or give another name")


def _identities(path: Path) -> set[Any]:
    """Return what tells a file from others: its place, and which file of which disk it is."""
    try:
        found = path.stat()
        return {Path(os.path.realpath(path)), (found.st_dev, found.st_ino)}
    except (OSError, ValueError):
        return {Path(os.path.realpath(path.absolute()))}


def _swap(draft: Path, path: Path) -> None:
    """Put the folder `draft` in the place of `path`."""
    if not path.exists():
        draft.rename(path)
        return
    old = path.with_name(f".{path.name}.{OLD}{TRASH}")
    shutil.rmtree(old, ignore_errors=True)
    path.rename(old)
    try:
        draft.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old)


def remove_folder(path: Path) -> None:
    """Remove a folder so that at no moment half of it stands under its name."""
    if path.exists():
        doomed = path.with_name(f".{path.name}.{GONE}{TRASH}")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)


def sweep(folder: Path) -> list[Path]:
    """Remove what killed processes left in `folder`; return what went.

    Only for who holds it (`common.locks`): drafts of a living process go too.
    """
    return _swept(folder.glob(f".*{TRASH}"))


def sweep_drafts(path: Path) -> list[Path]:
    """Remove what killed processes left of `path`: drafts whose process is gone; return them.

    A folder that was killed while another took its place gets its name back.
    """
    drafts = path.parent.glob(f".{glob.escape(path.name)}.*{TRASH}")
    return _swept(draft for draft in drafts if _maker(draft) in (OLD, GONE) or _is_left(draft))


def sweep_inside(folder: Path, below: bool = False) -> list[Path]:
    """Remove the drafts in a folder of which the process is gone; return them.

    below: also those in the folders in it, which are then all written by this program.
    """
    drafts = (folder.rglob if below else folder.glob)(f".*{TRASH}")
    return _swept(draft for draft in drafts if _is_left(draft))


def _maker(draft: Path) -> str:
    """Return which process a draft is of, or `OLD`, `GONE`."""
    return draft.name.removesuffix(TRASH).rpartition(".")[2]


def _is_left(draft: Path) -> bool:
    number = _maker(draft)
    return number.isdecimal() and not _runs(int(number))


def _swept(found: Iterable[Path]) -> list[Path]:
    gone = []
    for path in list(found):
        end = f".{OLD}{TRASH}"
        before = path.with_name(path.name[1:].removesuffix(end))
        if path.name.endswith(end) and not before.exists():
            path.rename(before)  # killed between the two renames of `_swap`
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        gone.append(path)
    return gone


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


def write_picture(figure: Any, path: Path, **options: Any) -> None:
    """Write a figure of matplotlib as PNG to `path`, whole or not at all; makes the folder.

    Raises UserError where it cannot be written. `options` are those of `savefig`.
    """
    make_folder(path.parent)
    with whole_file(path) as draft:
        figure.savefig(draft, format="png", **options)


def make_folder(path: Path) -> None:
    """Make a folder and those around it; UserError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota, a limit on files


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be written: {error.strerror or error}{_of_disk(path, error)}")


def _of_disk(path: Path, error: OSError) -> str:
    """Say which disk is full and how much of it is free, where that is why."""
    if error.errno not in FULL:
        return ""
    place = next((folder for folder in (path, *path.absolute().parents) if folder.exists()), path)
    try:
        usage, disk = shutil.disk_usage(place), place.absolute()
        while not os.path.ismount(disk):
            disk = disk.parent
    except OSError:
        return ""
    free, total = (f"{size / 2**30:.2f} GB" for size in (usage.free, usage.total))
    return f" (disk {disk}: {free} free of {total}; a quota may leave less). Make room there"


@contextmanager
def writing_in(path: Path) -> Iterator[None]:
    """Turn what fails while the block writes in `path` into the UserError of `whole_file`."""
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from None


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
