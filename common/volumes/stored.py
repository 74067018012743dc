"""What a file of a volume holds, and what is asked of any before its voxels are read."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from common.environment import memory_bytes
from common.errors import DamagedFileError, DataError, UnreadableError, UserError
from common.files import require_file

NUMBERS = "uifb"  # kinds of NumPy dtypes that a voxel may have
DIMENSIONS = (3, 4)  # [D, H, W] and [C, D, H, W]


@dataclass(frozen=True, eq=False)
class StoredVolume:
    """An array of a file, and what a file of the same geometry needs beside it.

    Attributes:
        array: [D, H, W] or [C, D, H, W] in the file's dtype.
        geometry: by name, as its kind of file has it: the affine of NIfTI, attributes of HDF5.
    """

    array: np.ndarray
    geometry: Mapping[str, Any] = field(default_factory=dict)


def require_volume(
    path: Path, shape: Sequence[int], dtype: np.dtype[Any], dimensions: Sequence[int] = DIMENSIONS
) -> None:
    """Raise DamagedFileError unless voxels of this shape and dtype can be a volume.

    Asked of a header, before memory is taken for what it promises.
    """
    if dtype.kind not in NUMBERS:
        raise DamagedFileError(
            f"{path}: its voxels are of the type {dtype}, expected whole or real numbers"
        )
    if len(shape) not in dimensions or min(shape, default=0) < 1:
        raise DamagedFileError(
            f"{path}: has the shape {list(shape)}, expected [depth, height, width] or "
            "[channels, depth, height, width], each at least 1"
        )
    size, memory = math.prod(shape) * dtype.itemsize, memory_bytes()
    if size > memory:
        raise DamagedFileError(
            f"{path}: its header promises {list(shape)} voxels, {size / 2**30:.1f} GB, and this "
            f"machine has {memory / 2**30:.1f} GB of memory: cut the volume into parts"
        )


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a library raises while it reads a file into one DamagedFileError."""
    try:
        require_file(path)
        yield
    except UnreadableError as error:
        raise DamagedFileError(str(error)) from None
    except (UserError, KeyboardInterrupt):
        raise
    except FileNotFoundError as error:
        raise DamagedFileError(
            f"{path}: no such file; expected {kind}: look for its name, or copy it again"
        ) from error
    except Exception as error:  # of a damaged file libraries raise anything
        why = " ".join((str(error) or type(error).__name__).split())
        raise DamagedFileError(
            f"{path}: cannot be read as {kind} ({why:.200}); the file is damaged, truncated or of "
            "another format: copy or unpack it again"
        ) from error


def library(path: Path, name: str) -> ModuleType:
    """Return the library that reads a kind of file. Raises DataError where it is not installed."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataError(
            f"{path}: needs {name}, which is not installed: pip install 'torch2paddle-seg[volumes]'"
        ) from None
