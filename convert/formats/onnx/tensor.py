"""One tensor of an ONNX file (`TensorProto`): where its values lie, there or in a file beside.

The format: https://github.com/onnx/onnx, onnx/onnx.proto and docs/ExternalData.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.errors import UnreadableError
from common.words.controls import in_one_line
from convert.formats.mapped import mapped, stamp_of
from convert.formats.onnx.wire import BYTES, VARINT, Reader, text, varints
from convert.formats.pickles.globals import Odd
from convert.formats.stored import DamagedError, Storage, Stored, contiguous, dtype_named

_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14
_FLOATS, _INT32S, _INT64S, _DOUBLES, _UINT64S = 4, 5, 7, 10, 11
# data_type -> its name, and the field of values that are not raw bytes.
_TYPES = {
    1: ("float32", _FLOATS),
    2: ("uint8", _INT32S),
    3: ("int8", _INT32S),
    4: ("uint16", _INT32S),
    5: ("int16", _INT32S),
    6: ("int32", _INT32S),
    7: ("int64", _INT64S),
    9: ("bool", _INT32S),
    10: ("float16", _INT32S),
    11: ("float64", _DOUBLES),
    12: ("uint32", _UINT64S),
    13: ("uint64", _UINT64S),
    14: ("complex64", _FLOATS),
    15: ("complex128", _DOUBLES),
    16: ("bfloat16", _INT32S),
    17: ("float8_e4m3fn", _INT32S),
    18: ("float8_e4m3fnuz", _INT32S),
    19: ("float8_e5m2", _INT32S),
    20: ("float8_e5m2fnuz", _INT32S),
    24: ("float8_e8m0fnu", _INT32S),
}
_ODD = {8: "strings", 21: "4-bit integers", 22: "4-bit integers", 23: "4-bit floats"}


class FilesBeside:
    """The files beside a model that hold values of its tensors; each is mapped once.

    A name may lead into a folder below that of the model, never out of it, by a link neither.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self.files: dict[Path, memoryview] = {}
        self.stamps: dict[Path, tuple[int, ...]] = {}

    def stretch(self, tensor: str, entries: Mapping[str, str]) -> memoryview:
        """Return the bytes that `entries` (location, offset, length) name for a tensor.

        Raises UnreadableError where the file is not there, DamagedError where it is too short.
        """
        path = self._place(tensor, entries.get("location", ""))
        if path not in self.files:
            self.stamps[path] = stamp_of(path)  # before it is opened
            self.files[path] = mapped(path)
        data = self.files[path]
        offset = _number(entries.get("offset", "0"))
        length = _number(entries.get("length", str(max(len(data) - offset, 0))))
        if offset + length > len(data):
            raise DamagedError(
                f"{in_one_line(tensor[:80])} lies beyond the end of {path.name}: is that file of "
                "another export, or cut off?"
            )
        return data[offset : offset + length]

    def _place(self, tensor: str, location: str) -> Path:
        model, name, named = self._model, in_one_line(tensor[:80]), in_one_line(location[:120])
        if not location or "\0" in location or len(location) > 4096:
            raise UnreadableError(
                f"{model}: the values of {name} are to lie in {named!r}, which is no file's name; "
                "export it again"
            )
        path = model.parent / location.replace("\\", "/")
        if not path.resolve().is_relative_to(model.parent.resolve()):
            raise UnreadableError(
                f"{model}: the values of {name} are to lie in {named!r}, which leads out of the "
                "folder of the model and is not read; put that file itself, no link to it, beside "
                "the model"
            )
        if not path.exists():
            raise UnreadableError(
                f"{model}: the values of {name} are to lie in {named!r}, and {path} does not "
                "exist; get that file as well, with the same name"
            )
        return path


@dataclass
class _Parts:
    """What a message says of a tensor."""

    dims: list[int] = field(default_factory=list)
    kind: int = 0
    name: str = ""
    raw: memoryview | None = None
    external: dict[str, str] = field(default_factory=dict)
    is_external: bool = False
    typed: dict[int, list[bytes]] = field(default_factory=dict)


def read_tensor(reader: Reader, data: memoryview, beside: FilesBeside) -> tuple[str, Stored | Odd]:
    """Return name and tensor of a message; its values are a view where they lie as raw bytes.

    Raises DamagedError for what contradicts itself, UnreadableError for a file that is absent.
    """
    parts = _parts(reader, data)
    if parts.kind in _ODD:
        return parts.name, Odd(_ODD[parts.kind])
    if parts.kind not in _TYPES:
        raise DamagedError(f"{in_one_line(parts.name[:80])!r} is of the unknown type {parts.kind}")
    name, typed = _TYPES[parts.kind]
    dtype, shape = dtype_named(name), tuple(parts.dims)
    strides = contiguous(shape)
    values, needed = _values(parts, typed, dtype, beside), math.prod(shape) * dtype.itemsize
    if needed != values.nbytes:
        raise DamagedError(
            f"{in_one_line(parts.name[:80])!r} has {values.nbytes} bytes, its shape needs {needed}"
        )
    stored = Stored(Storage(values, name=parts.name[:80]), dtype, shape, strides)
    return parts.name, stored


def _values(parts: _Parts, typed: int, dtype: np.dtype, beside: FilesBeside) -> memoryview:
    if parts.is_external:
        return beside.stretch(parts.name, parts.external)
    if parts.raw is not None:
        return parts.raw
    found = b"".join(parts.typed.get(typed, []))
    if typed in (_FLOATS, _DOUBLES):
        return memoryview(found)
    numbers = varints(memoryview(found))
    return memoryview(numbers.astype(f"<u{dtype.itemsize}").tobytes())


def _parts(reader: Reader, data: memoryview) -> _Parts:
    parts = _Parts()
    for number, kind, value in reader.fields(data):
        if number == _DIMS:
            parts.dims += [value] if kind == VARINT else varints(value).tolist()
        elif number == _TYPE and kind == VARINT:
            parts.kind = value
        elif number == _NAME:
            parts.name = text(value)
        elif number == _RAW and kind == BYTES:
            parts.raw = value
        elif number == _LOCATION:
            parts.is_external = value == 1
        elif number == _EXTERNAL and kind == BYTES:
            pair = {n: text(v) for n, _, v in reader.fields(value)}
            parts.external[pair.get(1, "")] = pair.get(2, "")
        elif number in (_FLOATS, _INT32S, _INT64S, _DOUBLES, _UINT64S):
            one = _varint_bytes(value) if kind == VARINT else bytes(value)
            parts.typed.setdefault(number, []).append(one)
    return parts


def _varint_bytes(value: int) -> bytes:
    """Return a number as a packed field holds it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 20):
        raise DamagedError(f"the offset or length {in_one_line(word[:40])!r} is no number")
    return int(word)
