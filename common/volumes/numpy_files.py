"""Volumes as NumPy keeps them: `.npy` is one array, `.npz` several by name."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from common.errors import DamagedFileError
from common.volumes.stored import StoredVolume, reading, require_volume


def read_npy(path: Path, inner: str) -> StoredVolume:
    """Map the array of a `.npy` file; no code of the file runs. Raises DamagedFileError."""
    with reading(path, "npy"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise DamagedFileError(f"{path}: holds several arrays, expected one: call it .npz")
        require_volume(path, array.shape, array.dtype)
        return StoredVolume(array)


def read_npz(path: Path, inner: str) -> StoredVolume:
    """Read the array `inner` of a `.npz` file. Raises DamagedFileError."""
    with reading(path, "npz"), zipfile.ZipFile(path) as file:
        names = [name.removesuffix(".npy") for name in file.namelist()]
        if inner not in names:
            raise DamagedFileError(f"{path}: holds no array {inner}; it has {', '.join(names)}")
        with file.open(f"{inner}.npy") as member:  # its header first: a zip may promise anything
            version = npy.read_magic(member)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(member)
            require_volume(path, shape, dtype)
        with file.open(f"{inner}.npy") as member:
            return StoredVolume(npy.read_array(member, allow_pickle=False))


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, compressed."""
    given: dict[str, Any] = dict(arrays)
    with path.open("wb") as file:
        np.savez_compressed(file, **given)


def write_npy(path: Path, array: np.ndarray) -> None:
    """Write one array."""
    with path.open("wb") as file:
        np.save(file, array)
