"""Volumes as NumPy keeps them: `.npy` is one array, `.npz` several by name."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from common.data.numpy_files import read_header, require_size
from common.errors import DamagedFileError
from common.volumes.stored import StoredVolume, reading, require_volume


def read_npy(path: Path, inner: str) -> StoredVolume:
    """Read the array of a `.npy` file; no code of the file runs. Raises DamagedFileError."""
    with reading(path, "npy"):
        if zipfile.is_zipfile(path):
            raise DamagedFileError(f"{path}: holds several arrays, expected one: call it .npz")
        with path.open("rb") as file:
            shape, dtype = read_header(file)
            require_volume(path, shape, dtype)
            require_size(file, path.stat().st_size, shape, dtype)
        # Not mapped: one that is cut short meanwhile would end a training.
        return StoredVolume(np.load(path, allow_pickle=False))


def read_npz(path: Path, inner: str) -> StoredVolume:
    """Read the array `inner` of a `.npz` file. Raises DamagedFileError."""
    with reading(path, "npz"), zipfile.ZipFile(path) as file:
        names = [name.removesuffix(".npy") for name in file.namelist()]
        if inner not in names:
            there = ", ".join(names[:20])
            raise DamagedFileError(f"{path}: holds no array {inner}; it has {there}")
        size = file.getinfo(f"{inner}.npy").file_size
        with file.open(f"{inner}.npy") as member:  # its header first: a zip may promise anything
            shape, dtype = read_header(member)
            require_volume(path, shape, dtype)
            require_size(member, size, shape, dtype)
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
