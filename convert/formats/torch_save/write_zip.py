"""Writes a state dict as torch.save does, without torch.

The format is a zip of uncompressed members: `data.pkl` (protocol 2) refers to storages in `data/`
(torch/serialization.py, `_save`). `torch.load(weights_only=True)` reads it, mapped too.
"""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import sha256_of
from convert.formats.pickles.globals import STORAGES
from convert.formats.pickles.opcodes import global_of, plain, tuple_of
from convert.formats.stored import contiguous
from convert.formats.stream import PLAIN_WRITING, Writing, Written, blocks

_ALIGNMENT = 64  # of storages, as torch.save aligns them
_CLASSES = {dtype: name for name, dtype in STORAGES.items() if name != "UntypedStorage"}
_ONLY_UNTYPED = {
    *("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"),
    *("float8_e5m2fnuz", "float8_e8m0fnu"),
}
HOLDS = frozenset(_CLASSES) | _ONLY_UNTYPED


def write_torch(
    state: Mapping[str, np.ndarray], path: Path, how: Writing = PLAIN_WRITING
) -> Written:
    """Write `state` to `path`; return its SHA-256 and size. Tied tensors are written once.

    Raises UserError for a dtype that torch does not have.
    """
    ties = how.ties
    storages = {key: str(i) for i, key in enumerate(k for k in state if k not in ties)}
    total, done = sum(state[key].nbytes for key in storages), 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", _pickle(state, storages, ties))
        archive.writestr("archive/byteorder", "little")
        for key, number in storages.items():
            with archive.open(_aligned(archive, f"archive/data/{number}", state[key]), "w") as out:
                for block in blocks(state[key]):
                    if how.finite:
                        how.finite.look(key, block)
                    out.write(block.view(np.uint8).data)
            done += state[key].nbytes
            if how.progress:
                how.progress(done, total)
        archive.writestr("archive/version", "3\n")
    return sha256_of(path) if how.checksum else None, path.stat().st_size


def _aligned(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> zipfile.ZipInfo:
    """Return the member's entry, padded so that its bytes begin at a multiple of 64."""
    info = zipfile.ZipInfo(name)
    info.file_size = array.nbytes
    assert archive.fp is not None
    start = archive.fp.tell() + 30 + len(name) + 4
    pad = -start % _ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", pad) + b"Z" * pad  # torch's own extra field
    return info


def _pickle(
    state: Mapping[str, np.ndarray], storages: Mapping[str, str], ties: Mapping[str, str]
) -> bytes:
    out = [pickle.PROTO + b"\x02", global_of("collections", "OrderedDict") + pickle.EMPTY_TUPLE]
    out.append(pickle.REDUCE + pickle.MARK)
    for key, array in state.items():
        out.append(plain(key) + _tensor(key, array, storages[ties.get(key, key)]))
    return b"".join([*out, pickle.SETITEMS + pickle.STOP])


def _tensor(key: str, array: np.ndarray, storage: str) -> bytes:
    name = array.dtype.newbyteorder("=").name
    if name in _CLASSES:
        module, kind, count = "torch", _CLASSES[name], array.size
    elif name in _ONLY_UNTYPED:
        module, kind, count = "torch.storage", "UntypedStorage", array.nbytes
    else:
        raise UserError(f"{key}: torch has no dtype {name}")
    identity = plain("storage") + global_of(module, kind) + plain(storage) + plain("cpu")
    parts = tuple_of(identity + plain(count)) + pickle.BINPERSID + plain(0)
    parts += plain(tuple(array.shape)) + plain(contiguous(array.shape)) + pickle.NEWFALSE
    parts += global_of("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    function = "_rebuild_tensor_v2"
    if name in _ONLY_UNTYPED:
        function, parts = "_rebuild_tensor_v3", parts + global_of("torch", name)
    return global_of("torch._utils", function) + tuple_of(parts) + pickle.REDUCE
