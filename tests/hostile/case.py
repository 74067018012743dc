"""One attempt to break a command: the files that it meets, and how it must end."""

import os
import re
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests import nursery
from tests.hostile.limited import UNFORESEEN
from tests.paths import TOOLS

LIMITED = Path(__file__).with_name("limited.py")
LOOK = Path(__file__).with_name("look_at_data.py")
MESSAGE = 10_000  # characters
REFUSED, BAD, ANY = {2}, {1, 2}, {0, 1, 2}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
Made = bytes | Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One attempt.

    Attributes:
        name: reader, a colon, and what is wrong.
        command: tool and arguments, run in the folder of the case.
        files: by their name in it, bytes or what makes them.
        ends: exit codes that are right.
        base: a folder of good files, whose copies stand beside them.
        may_write: beginnings of names of outputs that may stand there however it ends.
        with_verdict: the same, where it ends with 1.
    """

    name: str
    command: tuple[str, ...]
    files: Mapping[str, Made]
    ends: set[int] = field(default_factory=lambda: REFUSED)
    base: Path | None = None
    may_write: tuple[str, ...] = ()
    with_verdict: tuple[str, ...] = ()


def problems_of(case, folder, canary):
    """Run a case in `folder`, which is new; return what was wrong, and what it printed."""
    prepare(case, folder)
    before = listing(folder)
    out, err = folder.with_name("out.txt"), folder.with_name("err.txt")
    for file in (out, err):
        file.write_bytes(b"")
    tool, *arguments = case.command
    runner = nursery.of_this_worker()
    script = LOOK if tool == LOOK.stem else TOOLS / f"{tool}.py"
    runner.start(LIMITED, script, *arguments, cwd=folder, out=out, err=err)
    code = runner.wait()
    said = (out.read_bytes() + err.read_bytes()).decode("utf-8", "replace")
    wrong = [] if code in case.ends else [f"exit {code}, not {sorted(case.ends)}"]
    if UNFORESEEN in said or "Traceback" in said:
        wrong.append("nobody foresaw the error")
    if code == 2 and len(said) > MESSAGE:
        wrong.append(f"a message of {len(said)} characters")
    if found := _CONTROL.search(said):
        wrong.append(f"prints {found[0]!r}")
    if canary.exists():
        canary.unlink()
        wrong.append("ran code")
    left = [name for name in listing(folder) - before if not may_stay(case, name, code)]
    if code and left:
        wrong.append(f"left {sorted(left)}")
    return wrong, said


def may_stay(case, name, code):
    """Tell whether a file may be there after an error: Python's own, and what the case allows."""
    allowed = (*case.may_write, *(case.with_verdict if code == 1 else ()))
    return "__pycache__" in name or name.startswith(allowed)


def prepare(case, folder):
    """Make the files of a case."""
    if case.base is None:
        folder.mkdir()
    else:
        shutil.copytree(case.base, folder, symlinks=True)
    for name, made in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(path)
        if callable(made):
            made(path)
        else:
            path.write_bytes(made)


def remove(path):
    """Remove what stands under a name, a folder too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def listing(folder):
    """Return the names of all that lies in a folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _socket(path):
    made = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(path.parent)  # a name of a socket is short
    try:
        made.bind(path.name)
    finally:
        os.chdir(here)
        made.close()


# What stands where a file is expected; `absent` is a link to nothing.
SPECIAL = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "socket": _socket,
    "folder": lambda path: path.mkdir(),
    "absent": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "unreadable memory": lambda path: path.symlink_to("/proc/self/mem"),
    "empty": b"",
}
