"""Reads and writes `.pdparams` files: one pickle of a dict of NumPy arrays.

It is written opcode by opcode (protocol 4), block by block, so that memory holds no second copy,
and with NumPy's names from before NumPy 2, which every NumPy reads.
"""

import pickle
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from common.errors import UnreadableError
from convert.formats.pickles.globals import NumpyArray
from convert.formats.pickles.machine import PickleMachine
from convert.formats.pickles.opcodes import global_of, plain, tuple_of
from convert.formats.pickles.refusals import refusals
from convert.formats.stored import Contents, DamagedError, FileHead, Stored
from convert.formats.stream import PLAIN_WRITING, SummingFile, Writing, Written, blocks
from convert.names.spec import PADDLE, TORCH

# What a file holds and Paddle reads back as the same dtype.
HOLDS = frozenset(
    {
        *("bool", "uint8", "int8", "int16", "int32", "int64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    }
)
# Paddle's name for the table of its parameters' other names, beside the weights.
_PADDLE_NAMES = "StructuredToParameterName@@"
_PADDLE_BIG = "UnpackBigParamInfor@@"
# What Paddle does not call its files: pickles of NumPy arrays made from torch's tensors.
_TORCH_SUFFIXES = (".pkl", ".pickle", ".pth", ".pt")


def looks_like_pickle(head: FileHead) -> bool:
    """Tell whether it may be one: a pickle of protocol 2 to 5."""
    return head.data[:1] == b"\x80" and head.data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def read(path: Path, data: memoryview) -> Contents:
    """Return what a plain pickle of NumPy arrays holds, which is what .pdparams files are.

    uint16 is how Paddle's files hold bfloat16; Paddle has no uint16. Raises UnreadableError.
    """
    with refusals(path):
        machine = PickleMachine(data)
        tree = machine.load()
        if machine.end != len(data):
            raise DamagedError(f"{len(data) - machine.end} bytes follow its end")
    if isinstance(tree, dict):
        if _PADDLE_BIG in tree:
            raise UnreadableError(
                f"{path}: holds tensors cut in pieces, as Paddle writes with protocol 2 or 3; "
                "save it again with paddle.save(..., protocol=4)"
            )
        tree = {name: value for name, value in tree.items() if name != _PADDLE_NAMES}
    framework = TORCH if path.suffix.lower() in _TORCH_SUFFIXES else PADDLE
    words = "pickle of NumPy arrays (.pdparams), which holds no CRC, "
    return Contents(_with_tensors(tree), framework, words)


def _with_tensors(value: Any, depth: int = 0) -> Any:
    """Return the tree with arrays as tensors; (name, array) is how Paddle saves one inside."""
    if isinstance(value, NumpyArray):
        return _bits_as_bfloat16(value.stored)
    pair = isinstance(value, tuple) and len(value) == 2
    if pair and isinstance(value[0], str) and isinstance(value[1], NumpyArray):
        return _bits_as_bfloat16(value[1].stored)
    if isinstance(value, dict) and depth < 8:
        return {name: _with_tensors(below, depth + 1) for name, below in value.items()}
    return value


def _bits_as_bfloat16(stored: Any) -> Any:
    if isinstance(stored, Stored) and stored.dtype == np.uint16:
        return replace(stored, dtype=np.dtype(ml_dtypes.bfloat16))
    return stored


def write_pdparams(
    state: Mapping[str, np.ndarray], path: Path, how: Writing = PLAIN_WRITING
) -> Written:
    """Write `state` to `path`; return its SHA-256 and size. `paddle.load` reads it as it is.

    bfloat16 is written as its uint16 bits, tied tensors under every name.
    """
    total = sum(array.nbytes for array in state.values())
    with path.open("wb") as file, SummingFile(file, how, total) as out:
        out.write(pickle.PROTO + b"\x04" + pickle.EMPTY_DICT)
        for key, array in state.items():
            out.write(plain(key))
            _write_array(out, key, array)
            out.write(pickle.SETITEM)
        out.write(pickle.STOP)
    return out.written()


def _write_array(out: SummingFile, key: str, array: np.ndarray) -> None:
    """Write what numpy.ndarray.__reduce__ says: an empty array, then its state."""
    dtype = np.dtype(np.uint16) if array.dtype == ml_dtypes.bfloat16 else array.dtype
    empty = global_of("numpy", "ndarray") + plain((0,)) + plain(b"b")
    out.write(global_of("numpy.core.multiarray", "_reconstruct") + tuple_of(empty) + pickle.REDUCE)
    out.write(pickle.MARK + plain(1) + plain(tuple(array.shape)) + _dtype(dtype))
    out.write(pickle.NEWFALSE)  # C order
    out.write(pickle.BINBYTES8 + struct.pack("<Q", array.nbytes))
    for block in blocks(array):
        out.write_values(key, block)
    out.write(pickle.TUPLE + pickle.BUILD)


def _dtype(dtype: np.dtype[Any]) -> bytes:
    reduced: Any = dtype.newbyteorder("<").__reduce__()
    _, arguments, state = reduced
    made = global_of("numpy", "dtype") + plain(arguments) + pickle.REDUCE
    return made + plain(state) + pickle.BUILD
