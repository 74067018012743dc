"""Where the modules of the reference stand in the port: names, and imports of one by another."""

from collections.abc import Iterable
from pathlib import Path

from port.record.facts import FileRecord

PREFIX = "ported_"  # of packages of libraries


def written_name(record: FileRecord) -> str:
    """Return the dotted name of a module inside the port's folder."""
    return f"{PREFIX}{record.module}" if record.library else record.module


def reference_name(written: str) -> str:
    """Return the dotted name in the reference of a package of the port's folder."""
    return written.removeprefix(PREFIX)


def relative(importer: str, is_package: bool, target: str) -> str:
    """Return how `importer` names `target` in a relative import; both inside the port's folder.

    ("models.deeplab", False, "models.resnet") -> ".resnet"; the folder itself is "".
    """
    here = importer.split(".") if is_package else importer.split(".")[:-1]
    there = target.split(".") if target else []
    shared = 0
    while shared < min(len(here), len(there)) and here[shared] == there[shared]:
        shared += 1
    return "." * (len(here) - shared + 1) + ".".join(there[shared:])


def file_of(name: str, is_package: bool) -> str:
    """Return the path of a module inside the port's folder."""
    path = name.replace(".", "/")
    return f"{path}/__init__.py" if is_package else f"{path}.py"


def beside(path: Path, files: Iterable[FileRecord]) -> str | None:
    """Return where a file stands in the port: from its modules as far as in the reference.

    None where it stands in no folder that holds `files`: those of a library are its package's.
    """
    for file in files:
        depth = file.module.count(".") + (2 if file.is_package else 1)
        folder = file.path.parents[depth - 1]
        if not path.is_relative_to(folder):
            continue
        inside = path.relative_to(folder)
        if not file.library:
            return inside.as_posix()
        if inside.parts[0] == file.module.partition(".")[0]:
            return f"{PREFIX}{inside.as_posix()}"
    return None
