"""Reads .safetensors files and the index files of sharded checkpoints, without their library.

The format: https://github.com/huggingface/safetensors, README, "Format".
"""

import json
from pathlib import Path
from typing import Any

from common.errors import UnreadableError
from convert.formats.stored import DamagedError, Storage, Stored, contiguous, dtype_named

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


def looks_like_safetensors(head: bytes, size: int) -> bool:
    """Return whether a file of `size` bytes that begins with `head` may be one."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= max(size, 8)


def _read(data: memoryview) -> tuple[dict[str, Stored], dict[str, str]]:
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(MOST_HEADER, len(data) - 8):
        raise DamagedError(_CUT_OFF)
    header = _header(bytes(data[8 : 8 + length]))
    metadata = header.pop("__metadata__", {})
    body = data[8 + length :]
    tensors: dict[str, Stored] = {}
    for name, entry in header.items():
        tensors[name] = _tensor(name, entry, body)
    _check_cover(header, len(body))
    if not isinstance(metadata, dict):
        raise DamagedError("its metadata is no table")
    return tensors, {str(name): str(value) for name, value in metadata.items()}


def _header(text: bytes) -> dict[str, Any]:
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


def read_index(path: Path, head: bytes) -> dict[str, str]:
    """Return {tensor name: file name} of a `*.index.json`; files lie beside it.

    Raises UnreadableError where it is no index or names a file elsewhere.
    """
    try:
        index = _header(head)
        places = index.get("weight_map")
        if not isinstance(places, dict) or not places:
            raise DamagedError("it has no weight_map")
        for name in places.values():
            if not isinstance(name, str) or Path(name).name != name or "\\" in name:
                raise DamagedError(f"it names the file {str(name)[:80]!r}, which is not beside it")
    except DamagedError as error:
        raise UnreadableError(f"{path}: not an index of a sharded checkpoint: {error}") from None
    return places
