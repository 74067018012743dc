"""Writes `.pdparams` and `.safetensors` files, whole or not at all.

A `.pdparams` file is one pickle of a dict of NumPy arrays. It is written opcode by opcode (protocol
4), block by block, so that memory holds no second copy, and with NumPy's names from before NumPy 2,
which every NumPy reads.
"""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from convert.formats.pickle_opcodes import global_of, plain, tuple_of
from convert.formats.stream import Finite, OnBytes, _Summing, blocks


def write_pdparams(
    state: Mapping[str, np.ndarray],
    path: Path,
    progress: OnBytes | None = None,
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
