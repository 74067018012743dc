"""The bytes of arrays in blocks, for writers, checks and sums."""

import hashlib
import queue
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from common.files import Background
from convert.names.spec import PADDLE

BLOCK = 1 << 22  # bytes that are compared or written at a time
_WAITING = 4  # blocks that wait to be summed up

OnBytes = Callable[[int, int], None]  # (bytes done, bytes in all)
Written = tuple[str | None, int]  # (SHA-256 or None, bytes)


def same_bytes(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two arrays have the same dtype, shape and bytes; NaN equals itself."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    place, others = one.__array_interface__["data"], other.__array_interface__["data"]
    if place == others and one.strides == other.strides:
        return True
    return all(
        np.array_equal(a, b) for a, b in zip(byte_blocks(one), byte_blocks(other), strict=True)
    )


def byte_blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the bytes of `array` in C order, piece by piece; only a strided one is copied."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    for start in range(0, flat.size, BLOCK):
        yield flat[start : start + BLOCK]


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


@dataclass(frozen=True)
class Writing:
    """How a state dict is written, whatever the format.

    Attributes:
        framework: whose names and layouts the state has, where the format can say so.
        ties: second name -> first name of one tensor; written once where the format can.
        progress: called with (bytes done, bytes in all).
        checksum: sum up what is written; without it no SHA-256 is returned.
        finite: counts the values that are not.
    """

    framework: str = PADDLE
    ties: Mapping[str, str] = field(default_factory=dict)
    progress: OnBytes | None = None
    checksum: bool = True
    finite: Finite | None = None


PLAIN_WRITING = Writing()


def blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array in C order in pieces of some MB, little-endian; views where it allows it."""
    dtype = array.dtype.newbyteorder("<")
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        step = max(1, BLOCK // max(1, array.dtype.itemsize))
        for start in range(0, flat.size, step):
            yield flat[start : start + step].astype(dtype, copy=False)
    elif array.size:
        rows = max(1, BLOCK // (array.nbytes // len(array)))
        for start in range(0, len(array), rows):
            yield np.ascontiguousarray(array[start : start + rows], dtype).reshape(-1)


class SummingFile:
    """A file that sums up in a thread what is written to it, and tells how far it is."""

    def __init__(self, file: BinaryIO, how: Writing, total: int) -> None:
        self.size = 0
        self._file, self._how, self._total, self._done = file, how, total, 0
        self._sha256 = hashlib.sha256() if how.checksum else None
        self._waiting: queue.Queue[Any] = queue.Queue(_WAITING)
        self._small = bytearray()
        self._summed = Background(self._sum) if how.checksum else None

    def __enter__(self) -> "SummingFile":
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

    def write_values(self, key: str, block: np.ndarray) -> None:
        """Write a contiguous block of the tensor `key`."""
        if self._how.finite:
            self._how.finite.look(key, block)
        data = block.view(np.uint8).data
        self.size += data.nbytes
        self._done += data.nbytes
        if data.nbytes < 1 << 14:
            self._small += data
        else:
            self._flush()
            self._put(data)
        if self._how.progress:
            self._how.progress(self._done, self._total)

    def _flush(self) -> None:
        if self._small:
            self._put(memoryview(bytes(self._small)))
            self._small.clear()

    def _put(self, data: memoryview) -> None:
        if self._summed:
            self._waiting.put(data)
        self._file.write(data)

    def written(self) -> Written:
        """Return the SHA-256, None where it was not asked for, and the size."""
        return self._sha256.hexdigest() if self._sha256 else None, self.size
