"""Reads what torch.save wrote before 1.6, without torch."""

import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.formats.pickles.globals import StorageOf
from convert.formats.pickles.machine import PickleMachine
from convert.formats.pickles.refusals import refusals
from convert.formats.stored import Contents, DamagedError, FileHead, Storage
from convert.formats.torch_save.storages import nbytes_of, persistent, storage_of
from convert.names.spec import TORCH

PROTOCOL = 1001  # torch/serialization.py, PROTOCOL_VERSION
MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
_PICKLED_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def looks_like_legacy(head: FileHead) -> bool:
    """Tell whether it may be one: the pickled number stands near its beginning."""
    return _PICKLED_MAGIC in head.data[:64]


def read(path: Path, data: memoryview) -> Contents:
    """Return what a file from before 1.6 holds.

    It is magic, protocol, system, object and list of storages, a pickle each, then each storage
    as a number of elements and its bytes. Raises UnreadableError where it is damaged or asks for
    code.
    """
    pending: dict[str, StorageOf] = {}

    def storage(key: str, kind: Any, count: int) -> StorageOf:
        if key not in pending:
            # Filled below: where its bytes lie is known only behind the pickles.
            pending[key] = storage_of(_Later(nbytes_of(kind, count)), kind, count)
        return pending[key]

    with refusals(path):
        if _begins_as_tar(data):  # which torch looks for first
            raise DamagedError("it begins as a tar archive too, which is torch's oldest format")
        end = 0
        for expected in (MAGIC, PROTOCOL, None):
            head = PickleMachine(data, end)
            value = head.load()
            if expected is not None and value != expected:
                raise DamagedError("its beginning is not what torch.save writes")
            if isinstance(value, dict) and value.get("little_endian") is False:
                raise DamagedError("it was written on a big-endian machine")
            end = head.end
        body = PickleMachine(data, end, persistent(storage))
        tree = body.load()
        order = PickleMachine(data, body.end)
        keys = order.load()
        _fill(data, order.end, keys, pending)
    return Contents(tree, TORCH, "pre-1.6 file, which holds no CRC, ")


def _begins_as_tar(data: memoryview) -> bool:
    try:
        tarfile.TarInfo.frombuf(bytes(data[: tarfile.BLOCKSIZE]), "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


class _Later(Storage):
    """A storage whose size is known before its place."""

    def __init__(self, nbytes: int) -> None:
        super().__init__(memoryview(b""))
        self.nbytes = nbytes

    def put(self, data: memoryview) -> None:
        self._data = data


def _fill(data: memoryview, start: int, keys: Any, pending: Mapping[str, StorageOf]) -> None:
    """Find the bytes of every storage behind the pickles."""
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(pending):
        raise DamagedError("its list of storages is not that of its tensors")
    for key in keys:
        later = pending[str(key)].storage
        size = 1 if (found := pending[str(key)].dtype) is None else found.itemsize
        if start + 8 > len(data):
            raise DamagedError("it is cut off")
        (count,) = struct.unpack("<q", data[start : start + 8])
        end = start + 8 + later.nbytes
        if count * size != later.nbytes or end > len(data):
            raise DamagedError("it is cut off, or a storage has another size than its tensors say")
        assert isinstance(later, _Later)
        later.put(data[start + 8 : end])
        start = end
    if start != len(data):
        raise DamagedError(f"{len(data) - start} bytes follow its last storage")
