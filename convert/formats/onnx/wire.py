"""Reads the fields of a protobuf message where they lie, without copies and within bounds.

The format: https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from convert.formats.stored import DamagedError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_MOST_FIELDS = 4_000_000  # of one file: a net has some ten thousands

Field = tuple[int, int, Any]  # number, wire type, and an int (VARINT) or a stretch of the file


class Reader:
    """Reads messages of one file, and counts what it reads."""

    def __init__(self) -> None:
        self._left = _MOST_FIELDS

    def fields(self, data: memoryview) -> Iterator[Field]:
        """Yield the fields of the message `data`. Raises DamagedError where it is none."""
        at, end = 0, len(data)
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise DamagedError(f"it has more than {_MOST_FIELDS} fields")
            key, at = varint(data, at)
            number, kind = key >> 3, key & 7
            if not number:
                raise DamagedError("it has a field without a number")
            if kind == VARINT:
                value: Any
                value, at = varint(data, at)
            else:
                length, at = (_FIXED[kind], at) if kind in _FIXED else _length(data, at, kind)
                if length > end - at:
                    raise DamagedError("it is cut off, or its lengths contradict each other")
                value, at = data[at : at + length], at + length
            yield number, kind, value


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at byte `at`, and where the next byte is."""
    value = 0
    for count, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + count + 1
    raise DamagedError("it is cut off, or holds a number without an end")


def varints(data: memoryview) -> np.ndarray:
    """Return all numbers of a packed field as int64 [N]."""
    flat = np.frombuffer(data, np.uint8)
    if not flat.size:
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(flat < 0x80)
    if not ends.size or ends[-1] != flat.size - 1:
        raise DamagedError("it is cut off, or holds a number without an end")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise DamagedError("it holds a number without an end")
    values = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max())):
        there = lengths > place
        part = (flat[starts[there] + place] & 0x7F).astype(np.uint64)
        values[there] |= part << np.uint64(7 * place)
    return values.view(np.int64)


def text(value: Any) -> str:
    """Return a field that holds UTF-8. Raises DamagedError where it does not."""
    try:
        return bytes(value).decode("utf-8")
    except (UnicodeDecodeError, TypeError, ValueError):
        raise DamagedError("a name in it is no text") from None


def _length(data: memoryview, at: int, kind: int) -> tuple[int, int]:
    if kind != BYTES:
        raise DamagedError(f"it has a field of the kind {kind}, which none is")
    return varint(data, at)
