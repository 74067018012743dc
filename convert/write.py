"""Writes `.pdparams` files, whole or not at all.

Such a file is one pickle of a dict of NumPy arrays. It is written opcode by opcode (protocol 4),
one array at a time, so that memory holds no second copy, and with NumPy's names from before
NumPy 2, which every NumPy reads.
"""

import hashlib
import os
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from common.errors import UserError

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)
CHECKPOINT_SUFFIXES = {".pth", ".pt", ".tar", ".ckpt", ".bin"}


def default_output(source: Path) -> Path:
    """Return `model.pdparams` beside `model.pth`; also for `x.pth.tar`."""
    name = Path(source.name)
    while name.suffix.lower() in CHECKPOINT_SUFFIXES:
        name = name.with_suffix("")
    return source.with_name(f"{name}.pdparams")


def account_path(output: Path) -> Path:
    """Return where the account of `output` is written."""
    return output.with_name(f"{output.name}.account.json")


def check_output(source: Path, output: Path, force: bool) -> None:
    """Raise UserError where `output` must not or cannot be written."""
    if output.exists() and source.exists() and output.samefile(source):
        raise UserError(f"{output}: the output would overwrite the checkpoint; choose another")
    if output.is_dir():
        raise UserError(f"{output}: a folder; name a file in it")
    if not output.parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist")
    if output.exists() and not force:
        raise UserError(f"{output}: exists already; --force replaces it, --output names another")


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


def write_pdparams(
    state: Mapping[str, np.ndarray], path: Path, progress: Progress | None = None
) -> tuple[str, int]:
    """Write `state` to `path`; return (SHA-256, bytes). `paddle.load` reads it as it is."""
    total = sum(array.nbytes for array in state.values())
    done = 0
    with path.open("wb") as file:
        out = _Hashing(file)
        out.write(pickle.PROTO + b"\x04" + pickle.EMPTY_DICT)
        for key, array in state.items():
            out.write(_value(key))
            _write_array(out, array)
            out.write(pickle.SETITEM)
            done += array.nbytes
            if progress:
                progress(done, total)
        out.write(pickle.STOP)
    return out.sha256.hexdigest(), out.size


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class _Hashing:
    """A file that sums up what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        self.file.write(data)
        self.sha256.update(data)
        self.size += len(data)


def _write_array(out: _Hashing, array: np.ndarray) -> None:
    """Write what numpy.ndarray.__reduce__ says: an empty array, then its state."""
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    empty = _global("numpy", "ndarray") + _value((0,)) + _value(b"b")
    out.write(_global("numpy.core.multiarray", "_reconstruct") + _tuple(empty) + pickle.REDUCE)
    out.write(pickle.MARK + _value(1) + _value(tuple(array.shape)) + _dtype(array.dtype))
    out.write(pickle.NEWFALSE)  # C order
    out.write(pickle.BINBYTES8 + struct.pack("<Q", data.nbytes))
    out.write(data.data)
    out.write(pickle.TUPLE + pickle.BUILD)


def _dtype(dtype: np.dtype[Any]) -> bytes:
    reduced: Any = dtype.newbyteorder("<").__reduce__()
    _, arguments, state = reduced
    made = _global("numpy", "dtype") + _value(arguments) + pickle.REDUCE
    return made + _value(state) + pickle.BUILD


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _tuple(items: bytes) -> bytes:
    return pickle.MARK + items + pickle.TUPLE


def _value(value: Any) -> bytes:
    if value is None:
        return pickle.NONE
    if isinstance(value, bool):
        return pickle.NEWTRUE if value else pickle.NEWFALSE
    if isinstance(value, int):
        small = -(2**31) <= value < 2**31
        return (
            pickle.BININT + struct.pack("<i", value)
            if small
            else pickle.LONG1 + b"\x08" + struct.pack("<q", value)
        )
    if isinstance(value, bytes):
        return pickle.SHORT_BINBYTES + bytes([len(value)]) + value
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return pickle.BINUNICODE + struct.pack("<I", len(text)) + text
    assert isinstance(value, tuple), value
    return _tuple(b"".join(map(_value, value)))
