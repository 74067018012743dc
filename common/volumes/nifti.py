"""Volumes in NIfTI, by nibabel (extra `volumes`): files have [X, Y, Z], here it is [Z, Y, X]."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.volumes.stored import StoredVolume, library, reading, require_volume


def read_nifti(path: Path, inner: str) -> StoredVolume:
    """Read a NIfTI file: [X, Y, Z] as [Z, Y, X], [X, Y, Z, C] as [C, Z, Y, X].

    Voxels have the header's scaling; its affine and units are the geometry. Raises
    DamagedFileError, DataError without nibabel.
    """
    nibabel = library(path, "nibabel")
    with reading(path, "NIfTI"):
        image: Any = nibabel.load(path, mmap=False)
        shape = [int(side) for side in image.shape]
        while len(shape) > 3 and shape[-1] == 1:
            shape.pop()
        if len(shape) == 5 and shape[3] == 1:  # the fourth is time, the fifth are channels
            shape.pop(3)
        require_volume(path, shape, np.dtype(image.get_data_dtype()))
        voxels = np.asanyarray(image.dataobj).reshape(shape, order="A")
        array = np.ascontiguousarray(voxels.T)
        return StoredVolume(
            array, {"affine": np.array(image.affine), "header": image.header.copy()}
        )


def write_nifti(path: Path, array: np.ndarray, geometry: Mapping[str, Any]) -> None:
    """Write [D, H, W] or [C, D, H, W] as NIfTI, in the place in the world that `geometry` says.

    Without one a voxel is 1 x 1 x 1. float16 and bool have no type of NIfTI: they are widened.
    """
    nibabel = library(path, "nibabel")
    wider: dict[str, Any] = {"float16": np.float32, "bool": np.uint8, "int64": np.int32}
    values = np.ascontiguousarray(array.T).astype(wider.get(array.dtype.name, array.dtype))
    header = geometry.get("header")
    image = nibabel.Nifti1Image(values, geometry.get("affine", np.eye(4)), header)
    image.header.set_data_dtype(values.dtype)
    image.header.set_slope_inter(1, 0)
    image.header["cal_min"] = image.header["cal_max"] = 0  # of the picture, not of its classes
    image.to_filename(path)
