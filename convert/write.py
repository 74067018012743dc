"""Writes `.pdparams` and `.safetensors` files, whole or not at all.

A `.pdparams` file is one pickle of a dict of NumPy arrays. It is written opcode by opcode (protocol
4), block by block, so that memory holds no second copy, and with NumPy's names from before NumPy 2,
which every NumPy reads.
"""

import hashlib
import json
import os
import pickle
import queue
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from common.errors import UserError
from convert.pickle_opcodes import global_of, plain, tuple_of
from convert.read_safetensors import DTYPES

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)
CHECKPOINT_SUFFIXES = {".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors"}
SAFETENSORS = ".safetensors"
_BLOCK = 1 << 22  # bytes
_WAITING = 4  # blocks that wait to be summed up
_CODES = {name: code for code, name in DTYPES.items()}


def default_output(source: Path, suffix: str = ".pdparams") -> Path:
    """Return `model.pdparams` beside `model.pth`; also for `x.pth.tar` and `x.index.json`."""
    name = Path(source.name.removesuffix(".index.json"))
    while name.suffix.lower() in CHECKPOINT_SUFFIXES | {".pdparams"}:
        name = name.with_suffix("")
    return source.with_name(f"{name}{suffix}")


def account_path(output: Path) -> Path:
    """Return where the account of `output` is written."""
    return output.with_name(f"{output.name}.account.json")


def dropped_path(output: Path) -> Path:
    """Return where large dropped tensors are kept, for the way back."""
    return output.with_name(f"{output.name}.dropped.safetensors")


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


class Finite:
    """Counts values that are NaN or infinite, while they are written: {key: how many}."""

    def __init__(self) -> None:
        self.wrong: dict[str, int] = {}

    def look(self, key: str, block: np.ndarray) -> None:
        """Look at one block of the tensor `key`, in its own dtype."""
        if block.dtype.kind in "biu" or np.isfinite(block).all():
            return
        count = block.size - int(np.isfinite(block).sum())
        self.wrong[key] = self.wrong.get(key, 0) + count


def write_pdparams(
    state: Mapping[str, np.ndarray],
    path: Path,
    progress: Progress | None = None,
    checksum: bool = True,
    finite: Finite | None = None,
) -> tuple[str | None, int]:
    """Write `state` to `path`; return (SHA-256, bytes). `paddle.load` reads it as it is.

    bfloat16 is written as its uint16 bits. Without `checksum` the first is None.
    """
    total = sum(array.nbytes for array in state.values())
    with path.open("wb") as file, _Summing(file, checksum, total, progress) as out:
        out.write(pickle.PROTO + b"\x04" + pickle.EMPTY_DICT)
        for key, array in state.items():
            out.write(plain(key))
            _write_array(out, key, array, finite)
            out.write(pickle.SETITEM)
        out.write(pickle.STOP)
    return out.digest(), out.size


def write_safetensors(
    state: Mapping[str, np.ndarray],
    path: Path,
    progress: Progress | None = None,
    checksum: bool = True,
    finite: Finite | None = None,
    metadata: Mapping[str, str] | None = None,
    align: int = 8,
) -> tuple[str | None, int]:
    """Write `state` to `path` as safetensors; return (SHA-256, bytes) as `write_pdparams`.

    The values begin at a multiple of `align` bytes. Raises UserError for a dtype that the format
    does not have.
    """
    order = sorted(state, key=lambda key: -state[key].dtype.itemsize)  # stable, and aligned
    header: dict[str, Any] = {"__metadata__": dict(metadata or {"format": "pd"})}
    end = 0
    for key in order:
        array = state[key]
        name = array.dtype.newbyteorder("=").name
        if name not in _CODES:
            raise UserError(f"{key}: .safetensors cannot hold dtype {name}; write .pdparams")
        place = [end, end + array.nbytes]
        header[key] = {"dtype": _CODES[name], "shape": list(array.shape), "data_offsets": place}
        end += array.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % align)
    with path.open("wb") as file, _Summing(file, checksum, end, progress) as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for key in order:
            for block in blocks(state[key]):
                out.write_values(key, block, finite)
    return out.digest(), out.size


def blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array in C order in pieces of some MB, little-endian; views where it allows it."""
    dtype = array.dtype.newbyteorder("<")
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        step = max(1, _BLOCK // max(1, array.dtype.itemsize))
        for start in range(0, flat.size, step):
            yield flat[start : start + step].astype(dtype, copy=False)
    elif array.size:
        rows = max(1, _BLOCK // (array.nbytes // len(array)))
        for start in range(0, len(array), rows):
            yield np.ascontiguousarray(array[start : start + rows], dtype).reshape(-1)


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


class _Summing:
    """A file that sums up in a thread what is written to it, and tells how far it is."""

    def __init__(
        self, file: BinaryIO, checksum: bool, total: int, progress: Progress | None
    ) -> None:
        self.size = 0
        self._file, self._total, self._progress, self._done = file, total, progress, 0
        self._sha256 = hashlib.sha256() if checksum else None
        self._waiting: queue.Queue[Any] = queue.Queue(_WAITING)
        self._small = bytearray()
        self._summed = Background(self._sum) if checksum else None

    def __enter__(self) -> "_Summing":
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self._flush()
        finally:
            if self._summed:
                self._waiting.put(None)
                self._summed.result()

    def _sum(self) -> None:
        assert self._sha256 is not None
        while (piece := self._waiting.get()) is not None:
            self._sha256.update(piece)

    def write(self, data: bytes) -> None:
        """Write what surrounds the values."""
        self._small += data
        self.size += len(data)
        if len(self._small) > 1 << 16:
            self._flush()

    def write_values(self, key: str, block: np.ndarray, finite: Finite | None) -> None:
        """Write a contiguous block of the tensor `key`."""
        if finite:
            finite.look(key, block)
        data = block.view(np.uint8).data
        self.size += data.nbytes
        self._done += data.nbytes
        if data.nbytes < 1 << 14:
            self._small += data
        else:
            self._flush()
            self._put(data)
        if self._progress:
            self._progress(self._done, self._total)

    def _flush(self) -> None:
        if self._small:
            self._put(memoryview(bytes(self._small)))
            self._small.clear()

    def _put(self, data: memoryview) -> None:
        if self._summed:
            self._waiting.put(data)
        self._file.write(data)

    def digest(self) -> str | None:
        """Return the SHA-256, None where it was not asked for."""
        return self._sha256.hexdigest() if self._sha256 else None


def _write_array(out: _Summing, key: str, array: np.ndarray, finite: Finite | None) -> None:
    """Write what numpy.ndarray.__reduce__ says: an empty array, then its state."""
    dtype = np.dtype(np.uint16) if array.dtype == ml_dtypes.bfloat16 else array.dtype
    empty = global_of("numpy", "ndarray") + plain((0,)) + plain(b"b")
    out.write(global_of("numpy.core.multiarray", "_reconstruct") + tuple_of(empty) + pickle.REDUCE)
    out.write(pickle.MARK + plain(1) + plain(tuple(array.shape)) + _dtype(dtype))
    out.write(pickle.NEWFALSE)  # C order
    out.write(pickle.BINBYTES8 + struct.pack("<Q", array.nbytes))
    for block in blocks(array):
        out.write_values(key, block, finite)
    out.write(pickle.TUPLE + pickle.BUILD)


def _dtype(dtype: np.dtype[Any]) -> bytes:
    reduced: Any = dtype.newbyteorder("<").__reduce__()
    _, arguments, state = reduced
    made = global_of("numpy", "dtype") + plain(arguments) + pickle.REDUCE
    return made + plain(state) + pickle.BUILD
