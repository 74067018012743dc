"""Files of volumes, of any kind that is read: which they are, reading and writing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DataError, UserError
from common.files import whole_file
from common.volumes.hdf5 import read_hdf5, write_hdf5
from common.volumes.nifti import read_nifti, write_nifti
from common.volumes.numpy_files import read_npy, read_npz, write_npy, write_npz
from common.volumes.stored import StoredVolume

PREDICTIONS = (
    "predictions"  # the data set of wolny's prediction files (predictor.py, AbstractPredictor)
)


@dataclass(frozen=True)
class FileKind:
    """A kind of file. `several`: it holds arrays by name, a volume and its label, say.

    write: (path, array, name of it inside, geometry).
    """

    read: Callable[[Path, str], StoredVolume]
    write: Callable[[Path, np.ndarray, str, Mapping[str, Any]], None]
    several: bool


HDF5 = FileKind(read_hdf5, lambda p, array, inner, g: write_hdf5(p, {inner: array}, g), True)
NIFTI = FileKind(read_nifti, lambda p, array, inner, g: write_nifti(p, array, g), False)
KINDS: dict[str, FileKind] = {
    ".h5": HDF5,
    ".hdf5": HDF5,
    ".hdf": HDF5,
    ".hd5": HDF5,
    ".nii": NIFTI,
    ".nii.gz": NIFTI,
    ".npz": FileKind(read_npz, lambda p, array, inner, g: write_npz(p, {inner: array}), True),
    ".npy": FileKind(read_npy, lambda p, array, inner, g: write_npy(p, array), False),
}


def suffix_of(path: Path) -> str:
    """Return the suffix by which the kind of a file of volumes is told; "" of any other."""
    name = path.name.lower()
    return next((suffix for suffix in sorted(KINDS, key=len)[::-1] if name.endswith(suffix)), "")


def stem_of(path: Path) -> str:
    """Return the name of a file of volumes without its suffix, of .nii.gz without both."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def kind_of(path: Path) -> FileKind:
    """Return what reads a file. Raises DataError where its suffix says none."""
    suffix = suffix_of(path)
    if not suffix:
        raise DataError(f"{path}: no file of volumes; expected one of {', '.join(KINDS)}")
    return KINDS[suffix]


def read_volume(path: Path, inner: str = "raw") -> StoredVolume:
    """Read a volume as [C, D, H, W]; one without channels has one.

    inner: its name, where the file holds several. Raises DamagedFileError, DataError.
    """
    found = kind_of(path).read(path, inner)
    array = found.array if found.array.ndim == 4 else found.array[None]
    return StoredVolume(array, found.geometry)


def read_label(path: Path, inner: str = "label") -> np.ndarray:
    """Read labels [D, H, W] or [C, D, H, W] as whole numbers, in the dtype of the file or int64.

    Raises DamagedFileError, and DataError where a label is no whole number.
    """
    array = kind_of(path).read(path, inner).array
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        whole = np.rint(array)
        good = (whole == array) & (np.abs(array) < np.float64(2**63))
        if not good.all():
            wrong = array[~good].ravel()[0]
            raise DataError(f"{path}: its label holds {wrong:g}, expected whole numbers")
        return whole.astype(np.int64)
    return np.asarray(array)


def write_volume(path: Path, array: np.ndarray, geometry: Mapping[str, Any]) -> None:
    """Write an array [D, H, W] or [C, D, H, W] as the suffix of `path` says, whole or not at all.

    In a file of several arrays it is called `predictions`. Raises UserError.
    """
    kind = kind_of(path)
    with whole_file(path) as draft:
        named = draft.with_name(f"{draft.name}{suffix_of(path)}")  # libraries go by the suffix
        try:
            kind.write(named, array, PREDICTIONS, geometry)
            named.replace(draft)
        except UserError:
            raise
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"{path}: cannot be written: {error}") from None
        finally:
            named.unlink(missing_ok=True)
