"""Volumes in HDF5, by h5py (extra `volumes`); wolny/pytorch-3dunet's layout: `raw`, `label`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DamagedFileError
from common.volumes.stored import NUMBERS, StoredVolume, library, reading, require_volume

MOST_ATTRIBUTE = 64  # numbers of an attribute that is kept


def read_hdf5(path: Path, inner: str) -> StoredVolume:
    """Read the data set `inner` of a file.

    Links to other files and voxels that lie elsewhere are refused: a stranger's file could name
    any file of this machine. Raises DamagedFileError, DataError without h5py.
    """
    h5py = library(path, "h5py")
    with reading(path, "HDF5"), h5py.File(path, "r") as file:
        dataset = _dataset(h5py, file, path, inner)
        require_volume(path, dataset.shape, dataset.dtype)
        geometry = {
            name: value
            for name, value in dataset.attrs.items()
            if np.asarray(value).dtype.kind in NUMBERS and np.size(value) <= MOST_ATTRIBUTE
        }
        return StoredVolume(dataset[()], geometry)


def _dataset(h5py: Any, file: Any, path: Path, inner: str) -> Any:
    """Return a data set of this very file; DamagedFileError names those that there are."""
    place = file
    for name in (part for part in inner.split("/") if part):
        link = place.get(name, getlink=True) if isinstance(place, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            raise DamagedFileError(
                f"{path}: {inner} is a link to another file, {link.filename}: such links are not "
                "followed; give that file"
            )
        place = place.get(name) if link is not None else None
        if place is not None and Path(place.file.filename) != Path(file.filename):
            raise DamagedFileError(f"{path}: {inner} leads to another file, {place.file.filename}")
        if place is None:
            there = ", ".join(_datasets(h5py, file)) or "no data set"
            raise DamagedFileError(f"{path}: holds no data set {inner}; it has {there}")
    if not isinstance(place, h5py.Dataset):
        there = ", ".join(_datasets(h5py, file)) or "no data set"
        raise DamagedFileError(f"{path}: {inner} is no data set; it has {there}")
    if place.is_virtual or place.external:
        raise DamagedFileError(
            f"{path}: the voxels of {inner} lie in other files, which are not read: copy them into "
            "this one"
        )
    return place


def _datasets(h5py: Any, file: Any) -> list[str]:
    """Return the paths of the data sets of a file."""
    found: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(name)

    file.visititems(note)
    return found[:20]


def write_hdf5(
    path: Path, arrays: Mapping[str, np.ndarray], geometry: Mapping[str, Any] | None = None
) -> None:
    """Write arrays by the path inside the file, with the attributes of `geometry`, compressed."""
    h5py = library(path, "h5py")
    with h5py.File(path, "w") as file:
        for inner, array in arrays.items():
            # No time stamps: equal arrays give equal bytes.
            dataset = file.create_dataset(
                inner, data=array, compression="gzip", compression_opts=4, track_times=False
            )
            for name, value in (geometry or {}).items():
                dataset.attrs[name] = value
