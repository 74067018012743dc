"""Arrays of a stored trace: safetensors files of bounded size, each array once."""

import hashlib
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - its types have names in NumPy only once it is imported
import numpy as np

from align.trace_format import SHARD_BYTES, Shard
from common.errors import UnreadableError
from convert.read_safetensors import read_safetensors
from convert.write import sha256_of, write_safetensors


class ArrayWriter:
    """Writes arrays into numbered files of `folder`, at most `limit` bytes each where it can.

    An array that was added before, by its values, shape and dtype, is not stored again.
    """

    def __init__(self, folder: Path, stem: str = "arrays", limit: int = SHARD_BYTES) -> None:
        self.folder, self.stem, self.limit = folder, stem, limit
        self.shards: list[Shard] = []
        self.complex128: list[str] = []
        self._names: dict[bytes, str] = {}
        self._waiting: dict[str, np.ndarray] = {}
        self._bytes = 0

    def add(self, array: np.ndarray, copy: bool = False) -> str:
        """Return the name of `array` in the files. `copy` where something may write into it."""
        whole: np.ndarray = np.ascontiguousarray(array).reshape(array.shape)
        key = hashlib.blake2b(f"{array.dtype.name}{array.shape}".encode(), digest_size=20)
        key.update(whole.reshape(-1).view(np.uint8).data)
        digest = key.digest()
        if digest in self._names:
            return self._names[digest]
        name = self._names[digest] = f"{self.stem}.{len(self._names)}"
        if whole.dtype == np.complex128:  # the format has no name for it
            self.complex128.append(name)
            whole = whole.reshape(*whole.shape, 1).view(np.float64)
        if self._bytes and self._bytes + whole.nbytes > self.limit:
            self._flush()
        self._waiting[name] = whole.copy() if copy else whole
        self._bytes += whole.nbytes
        return name

    def optional(self, array: Any) -> str | None:
        """Return the name of `array`, None of None."""
        return None if array is None else self.add(array)

    def finish(self) -> list[Shard]:
        """Write what is left; return the files."""
        self._flush()
        return self.shards

    def _flush(self) -> None:
        if not self._waiting:
            return
        file = f"{self.stem}-{len(self.shards) + 1:05}.safetensors"
        digest, size = write_safetensors(
            self._waiting, self.folder / file, metadata={"format": "np"}
        )
        self.shards.append(Shard(file, size, digest or ""))
        self._waiting, self._bytes = {}, 0


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of `shards` in `folder`, read-only views of the mapped files.

    Raises UnreadableError where a file is absent, cut off or changed.
    """

    def __init__(self, folder: Path, shards: list[Shard], complex128: list[str]) -> None:
        self._complex = set(complex128)
        self._found: dict[str, Any] = {}
        for shard in shards:
            self._found |= _open(folder, shard)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._found:
            raise UnreadableError(f"the manifest names the array {name[:80]!r}, no file holds it")
        array: np.ndarray = self._found[name].view()
        return array.view(np.complex128)[..., 0] if name in self._complex else array

    def __iter__(self) -> Any:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _open(folder: Path, shard: Shard) -> dict[str, Any]:
    path = folder / shard.file
    if Path(shard.file).name != shard.file or "\\" in shard.file:
        raise UnreadableError(f"the manifest names the file {shard.file[:80]!r}, not beside it")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}; copy the whole folder") from None
    if size != shard.bytes:
        raise UnreadableError(
            f"{path}: has {size} bytes, the manifest says {shard.bytes}; copy the "
            "whole folder again"
        )
    if sha256_of(path) != shard.sha256:
        raise UnreadableError(
            f"{path}: its SHA-256 is not that of the manifest: damaged or of another trace; copy "
            "the whole folder again"
        )
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return read_safetensors(path, data)[0]
