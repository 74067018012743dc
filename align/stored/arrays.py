"""Arrays of a stored trace: safetensors files of bounded size, each array once."""

import errno
import hashlib
import mmap
from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - its types have names in NumPy only once it is imported
import numpy as np

from align.arrays.memory import give_back
from align.record.trace import Call
from align.stored.format import SHARD_BYTES, Shard, StoredCall
from common.errors import UnreadableError
from common.files import is_beside, sha256_of
from convert.formats.safetensors import read_safetensors, write_safetensors

ALIGNED = 64  # bytes, as the frameworks align what they make: kernels sum alike
RESIDENT = 1 << 25  # bytes that are read before memory is given back
_DROP = getattr(mmap, "MADV_DONTNEED", None)  # Windows has none


class ArrayWriter:
    """Writes arrays into numbered files of `folder`, at most `limit` bytes each where it can.

    An array that was added before, by its values, shape and dtype, is not stored again. Memory
    holds what the file that is next will hold.
    """

    def __init__(self, folder: Path, stem: str = "arrays", limit: int = SHARD_BYTES) -> None:
        self.folder, self.stem, self.limit = folder, stem, limit
        self.shards: list[Shard] = []
        self.complex128: list[str] = []
        self._names: dict[bytes, str] = {}
        self._waiting: dict[str, np.ndarray] = {}
        self._bytes = 0
        # For copies: one piece of memory, as many would stand between those that a run frees.
        self._space = np.empty(0, np.uint8)
        self._taken = 0

    def add(self, array: np.ndarray, copy: bool = False) -> str:
        """Return the name of `array` in the files. `copy` where something may write into it."""
        whole: np.ndarray = np.ascontiguousarray(array).reshape(array.shape)
        key = hashlib.blake2b(f"{array.dtype.name}{array.shape}".encode(), digest_size=20)
        key.update(whole.reshape(-1).view(np.uint8).data)
        digest = key.digest()
        if digest in self._names:
            return self._names[digest]
        if self._bytes and self._bytes + whole.nbytes > self.limit:
            self._flush()
        name = self._names[digest] = f"{self.stem}.{len(self._names)}"
        if whole.dtype == np.complex128:  # the format has no name for it
            self.complex128.append(name)
            whole = whole.reshape(*whole.shape, 1).view(np.float64)
        self._waiting[name] = self._copy(whole) if copy else whole
        self._bytes += whole.nbytes
        return name

    def _copy(self, array: np.ndarray) -> np.ndarray:
        if array.nbytes > self.limit // 2:
            return array.copy()
        if not self._space.size:
            self._space = np.empty(self.limit + ALIGNED, np.uint8)
        if self._taken + array.nbytes > self._space.size:
            return array.copy()
        own = self._space[self._taken : self._taken + array.nbytes]
        self._taken += -(-array.nbytes // ALIGNED) * ALIGNED
        own = own.view(array.dtype).reshape(array.shape)
        own[...] = array
        return own

    def optional(self, array: Any) -> str | None:
        """Return the name of `array`, None of None."""
        return None if array is None else self.add(array)

    def read(self, name: str) -> np.ndarray:
        """Return an array that was added."""
        if name in self._waiting:
            array = self._waiting[name]
            return array.view(np.complex128)[..., 0] if name in self.complex128 else array
        return self.written()[name]

    def finish(self) -> list[Shard]:
        """Write what is left; return the files."""
        self._flush()
        self._space = np.empty(0, np.uint8)
        return self.shards

    def written(self) -> "StoredArrays":
        """Return what the files hold."""
        return StoredArrays(self.folder, self.shards, self.complex128, checks=False)

    def _flush(self) -> None:
        if not self._waiting:
            return
        file = f"{self.stem}-{len(self.shards) + 1:05}.safetensors"
        # Of one dtype, those that leave the next one aligned come first.
        order = sorted(self._waiting, key=lambda name: self._waiting[name].nbytes % ALIGNED > 0)
        digest, size = write_safetensors(
            {name: self._waiting[name] for name in order},
            self.folder / file,
            metadata={"format": "np"},
            align=ALIGNED,
        )
        self.shards.append(Shard(file, size, digest or ""))
        self._waiting, self._bytes, self._taken = {}, 0, 0
        give_back()


class StoredArrays(Mapping[str, np.ndarray]):
    """The arrays of `shards` in `folder`: views of the mapped files, read when they are used.

    What is written into a view never reaches the file, and may be forgotten. Memory is given back
    whenever `RESIDENT` bytes were asked for; views stay good, and are read again.

    Raises UnreadableError where a file is absent, cut off or changed. Without `checks`, for files
    that this process wrote, their bytes are taken as they are.
    """

    def __init__(
        self, folder: Path, shards: list[Shard], complex128: list[str], checks: bool = True
    ) -> None:
        self._complex = set(complex128)
        self._found: dict[str, Any] = {}
        self._files: list[mmap.mmap] = []
        self._asked = 0
        for shard in shards:
            path = folder / shard.file
            if checks:
                _check(path, shard)
            self._files.append(_mapped(path))
            self._found |= read_safetensors(path, memoryview(self._files[-1]))[0]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._found:
            raise UnreadableError(f"the manifest names the array {name[:80]!r}, no file holds it")
        array: np.ndarray = self._found[name].view()
        self._asked += array.nbytes
        if self._asked > RESIDENT:
            self._give_back()
        return array.view(np.complex128)[..., 0] if name in self._complex else array

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def aligned(self, name: str) -> np.ndarray:
        """Return an array that a framework may work on in place of its own."""
        array = self[name]
        if not array.size or _address(array) % ALIGNED == 0:
            return array
        space = np.empty(array.nbytes + ALIGNED, np.uint8)
        start = -_address(space) % ALIGNED
        own = space[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        own[...] = array
        return own

    def named(self, names: Iterable[str | None]) -> "NamedArrays":
        """Return the arrays of these names, None for None, as a list that reads them when asked.

        Raises UnreadableError where there is no such array.
        """
        held = list(names)
        for name in held:
            if name is not None and name not in self._found:
                self[name]
        return NamedArrays(self, held)

    def _give_back(self) -> None:
        self._asked = 0
        if _DROP is not None:
            for data in self._files:
                data.madvise(_DROP)


class NamedArrays(MutableSequence[Any]):
    """A list of arrays, of which those that stand in files are read whenever they are asked for."""

    def __init__(self, arrays: StoredArrays, held: list[Any]) -> None:
        self._arrays, self._held = arrays, held

    def __getitem__(self, index: Any) -> Any:
        held = self._held[index]
        return [self._read(each) for each in held] if isinstance(index, slice) else self._read(held)

    def _read(self, held: Any) -> Any:
        return self._arrays.aligned(held) if isinstance(held, str) else held

    def __len__(self) -> int:
        return len(self._held)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._held[index] = value

    def __delitem__(self, index: Any) -> None:
        del self._held[index]

    def insert(self, index: int, value: Any) -> None:
        """Insert an array, or what stands for one."""
        self._held.insert(index, value)


def read_tensors(call: Call, stored: StoredCall, arrays: StoredArrays) -> None:
    """Let the tensors of `call` be those that `stored` names."""
    call.inputs, call.outputs = arrays.named(stored.inputs), arrays.named(stored.outputs)
    call.grad_inputs = arrays.named(stored.grad_inputs)
    call.grad_outputs = arrays.named(stored.grad_outputs)


def _mapped(path: Path) -> mmap.mmap:
    """Return a file in memory, of which this process may write into its own copy."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        more = "; allow more open files (ulimit -n)" if error.errno == errno.EMFILE else ""
        raise UnreadableError(f"{path}: {error.strerror or error}{more}") from None


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _check(path: Path, shard: Shard) -> None:
    """Raise UnreadableError where a file is not what the manifest says of it."""
    if not is_beside(shard.file):
        raise UnreadableError(f"the manifest names the file {shard.file[:80]!r}, not beside it")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}; copy the whole folder") from None
    if size != shard.bytes or not size:
        raise UnreadableError(
            f"{path}: has {size} bytes, the manifest says {shard.bytes}; copy the "
            "whole folder again"
        )
    if sha256_of(path) != shard.sha256:
        raise UnreadableError(
            f"{path}: its SHA-256 is not that of the manifest: damaged or of another trace; copy "
            "the whole folder again"
        )
