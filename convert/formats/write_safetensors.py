"""Writes arrays as one safetensors file."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from convert.formats.read_safetensors import DTYPES
from convert.formats.stream import Finite, OnBytes, _Summing, blocks

SAFETENSORS = ".safetensors"


_CODES = {name: code for code, name in DTYPES.items()}


def write_safetensors(
    state: Mapping[str, np.ndarray],
    path: Path,
    progress: OnBytes | None = None,
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
