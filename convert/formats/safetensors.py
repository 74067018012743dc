"""Reads and writes .safetensors files, without their library.

The format: https://github.com/huggingface/safetensors, README, "Format".
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UnreadableError, UserError
from convert.formats.stored import (
    Contents,
    DamagedError,
    FileHead,
    Storage,
    Stored,
    contiguous,
    dtype_named,
)
from convert.formats.stream import PLAIN_WRITING, SummingFile, Writing, Written, blocks
from convert.names.spec import PADDLE, TORCH

MOST_HEADER = 100_000_000  # safetensors/src/tensor.rs, MAX_HEADER_SIZE
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "BOOL": "bool",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}
HOLDS = frozenset(DTYPES.values())
_CODES = {name: code for code, name in DTYPES.items()}
_SAYS = {TORCH: "pt", PADDLE: "pd"}  # the "format" of the metadata
_CUT_OFF = "its header and its length contradict each other"


def read_safetensors(path: Path, data: memoryview) -> tuple[dict[str, Stored], dict[str, str]]:
    """Return (name -> tensor, metadata) of a mapped file.

    Raises UnreadableError where the header is no header or contradicts the file.
    """
    try:
        return _read(data)
    except DamagedError as error:
        raise UnreadableError(
            f"{path}: a damaged safetensors file: {error}; download or save it again"
        ) from None


def looks_like_safetensors(head: FileHead) -> bool:
    """Tell whether it may be one: the length of a header, then the header."""
    length = int.from_bytes(head.data[:8], "little")
    return head.data[8:9] == b"{" and length <= max(head.size, 8)


def read(path: Path, data: memoryview) -> Contents:
    """Return what a mapped file holds; the metadata say whose it is. Raises UnreadableError."""
    tensors, metadata = read_safetensors(path, data)
    framework = PADDLE if metadata.get("format") in ("pd", "paddle") else TORCH
    return Contents(tensors, framework, "safetensors, which holds no CRC, ")


def _read(data: memoryview) -> tuple[dict[str, Stored], dict[str, str]]:
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(MOST_HEADER, len(data) - 8):
        raise DamagedError(_CUT_OFF)
    header = json_table(bytes(data[8 : 8 + length]))
    metadata = header.pop("__metadata__", {})
    body = data[8 + length :]
    tensors: dict[str, Stored] = {}
    for name, entry in header.items():
        tensors[name] = _tensor(name, entry, body)
    _check_cover(header, len(body))
    if not isinstance(metadata, dict):
        raise DamagedError("its metadata is no table")
    return tensors, {str(name): str(value) for name, value in metadata.items()}


def json_table(text: bytes) -> dict[str, Any]:
    """Return a JSON object in which no name stands twice; DamagedError where it is none."""
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise DamagedError("its header is no JSON") from None
    if not isinstance(header, dict):
        raise DamagedError("its header is no table")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise DamagedError("its header names something twice")
    return table


def _tensor(name: str, entry: Any, body: memoryview) -> Stored:
    what = f"its tensor {name[:80]!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise DamagedError(f"{what} is not described by dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        raise DamagedError(f"{what} is of dtype {str(entry['dtype'])[:40]}, which is not read")
    numbers = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2
    if not numbers or any(type(n) is not int or n < 0 for n in (*shape, *offsets)):
        raise DamagedError(f"{what} has a shape or offsets that are no numbers")
    begin, end = offsets
    if not begin <= end <= len(body):
        raise DamagedError(f"{what} lies outside the file")
    storage = Storage(body[begin:end], name=name[:80])
    stored = Stored(
        storage, dtype_named(DTYPES[entry["dtype"]]), tuple(shape), contiguous(tuple(shape))
    )
    if stored.nbytes != storage.nbytes:
        raise DamagedError(f"{what} has {end - begin} bytes, its shape needs {stored.nbytes}")
    return stored


def _check_cover(header: dict[str, Any], size: int) -> None:
    """Tensors must lie one after the other and fill the file: no hole, no overlap."""
    taken = 0
    for begin, end in sorted(tuple(entry["data_offsets"]) for entry in header.values()):
        if begin != taken:
            raise DamagedError("its tensors overlap or leave a hole")
        taken = end
    if taken != size:
        raise DamagedError(_CUT_OFF)


def write_safetensors(
    state: Mapping[str, np.ndarray],
    path: Path,
    how: Writing = PLAIN_WRITING,
    metadata: Mapping[str, str] | None = None,
    align: int = 8,
) -> Written:
    """Write `state` to `path` as safetensors; return its SHA-256 and size.

    The values begin at a multiple of `align` bytes; without `metadata` they say whose it is. Tied
    tensors are written under every name. Raises UserError for a dtype that the format does not
    have.
    """
    order = sorted(state, key=lambda key: -state[key].dtype.itemsize)  # stable, and aligned
    header: dict[str, Any] = {"__metadata__": dict(metadata or {"format": _SAYS[how.framework]})}
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
    with path.open("wb") as file, SummingFile(file, how, end) as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for key in order:
            for block in blocks(state[key]):
                out.write_values(key, block)
    return out.written()
