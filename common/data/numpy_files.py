"""NumPy's files, whose headers are believed where the file is as long as they say; no pickles."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from common.files import require_file

MOST_DIMENSIONS = 64  # of NumPy 2
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype of the array in a file, which stands at its beginning.

    Raises ValueError where it is none of numbers or text. A damaged header raises anything.
    """
    version = npy.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"it is of version {version}")
    shape, _, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it holds objects, which only running code could read")
    if min(shape, default=0) < 0 or len(shape) > MOST_DIMENSIONS:
        raise ValueError("its header says a shape that cannot be")
    return shape, dtype


def require_size(file: IO[bytes], size: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise ValueError where a file of `size` bytes, read to the end of its header, lies.

    So the memory that is taken for an array is never more than the file holds.
    """
    if file.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"it has {size} bytes, and its header says shape {shape} of {dtype}")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz by name; of an .npy the one is "arr_0".

    Raises UnreadableError for what is no file, and what a library raises for a damaged one.
    """
    if not zipfile.is_zipfile(require_file(path)):
        with path.open("rb") as file:
            require_size(file, path.stat().st_size, *read_header(file))
        return {"arr_0": np.load(path, allow_pickle=False)}
    found = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy"):
                raise ValueError(f"it holds {entry.filename[:80]!r}, which is no array")
            with archive.open(entry) as member:
                require_size(member, entry.file_size, *read_header(member))
            with archive.open(entry) as member:
                name = entry.filename.removesuffix(".npy")
                found[name] = npy.read_array(member, allow_pickle=False)
    return found
