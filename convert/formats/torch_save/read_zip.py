"""Reads the zip files of torch.save, and TorchScript archives, without torch."""

from pathlib import Path
from typing import Any

from convert.formats.pickles.globals import Inert, StorageOf
from convert.formats.pickles.machine import PickleMachine
from convert.formats.pickles.refusals import refusals
from convert.formats.stored import Contents, DamagedError, FileHead, Storage
from convert.formats.torch_save.storages import persistent, storage_of
from convert.formats.torch_save.zip_members import members
from convert.names.spec import TORCH

_SCRIPT = "__torch__."
_LEAST_ATTRIBUTES, _DEEPEST_MODULE = 10_000, 200  # that any file may have


def looks_like_zip(head: FileHead) -> bool:
    """Tell whether it may be one."""
    return head.data.startswith(b"PK")


def read(path: Path, data: memoryview) -> Contents:
    """Return what a zip of torch.save or torch.jit.save holds.

    Raises UnreadableError where it is damaged or asks for code.
    """
    files = members(path, data)
    script = "constants.pkl" in files or any(name.startswith("code/") for name in files)
    storages: dict[str, Storage] = {}

    def storage(key: str, kind: Any, count: int) -> StorageOf:
        name = f"data/{key}"
        if name not in files:
            raise DamagedError(f"it lacks the member {name[:80]}")
        return storage_of(storages.setdefault(key, files[name]), kind, count)

    with refusals(path):
        if "byteorder" in files and bytes(files["byteorder"].data()) != b"little":
            raise DamagedError("it was written on a big-endian machine, which is not supported")
        pickled = files["data.pkl"].data()
        tree = PickleMachine(pickled, 0, persistent(storage), (_SCRIPT,) if script else ()).load()
        if script:
            words = "TorchScript archive (its code was not run), "
            return Contents({"": _flattened(tree, len(pickled))}, TORCH, words)
    return Contents(tree, TORCH, "zip file, ")


def _flattened(tree: Any, size: int) -> dict[str, Any]:
    """Return {dotted name: value} of the attributes of a TorchScript module.

    `size` is that of its pickle in bytes: one that holds itself has more attributes than it can.
    """
    found: dict[str, Any] = {}
    todo: list[tuple[str, Any]] = [("", tree)]
    for _ in range(max(_LEAST_ATTRIBUTES, size)):
        if not todo:
            return found
        path, value = todo.pop()
        if isinstance(value, Inert) and value.name.startswith(_SCRIPT):
            if path.count(".") > _DEEPEST_MODULE:
                break
            below = [(f"{path}.{name}" if path else name, v) for name, v in value.state.items()]
            todo += reversed(below)
        elif path:
            found[path] = value
    raise DamagedError("a TorchScript module holds itself, or far too many others")
