"""Toy volumes: rendered cells with nuclei and membranes, in the layout of wolny/pytorch-3dunet."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from common.data.toy.write import Progress, ToyLayout, require_replaceable
from common.errors import ConfigError, DataError, UserError
from common.files import whole_folder
from common.randomness import generator
from common.volumes.augment import normal
from common.volumes.hdf5 import write_hdf5
from common.volumes.nifti import write_nifti
from common.volumes.numpy_files import write_npz
from common.volumes.patches import Shape

VERSION = 1  # of the voxels: the same seed and version give the same ones
MARKER = "toy_volumes.json"
SPLITS, LABELS = ("train", "val"), "labels"
SMALLEST = 16  # voxels a side
SPACING, JITTER = 14.0, 0.3  # of the cells: voxels, and the share of them by which one is moved
MEMBRANE, NUCLEUS = 0.9, 4.0  # half the thickness, and the radius, in voxels
TISSUE = 0.92  # radius of the tissue, as a share of half a side
OUTSIDE, CYTOPLASM, NUCLEAR, WALL = 20.0, 55.0, 130.0, 175.0  # grey values
BLUR, NOISE, FADES = 0.7, 9.0, 0.3  # voxels; grey values; share of the light lost in the depth
VOXEL_UM = (0.5, 0.25, 0.25)


@dataclass(frozen=True)
class Cells:
    """A rendered volume [D, H, W].

    raw: uint8. cells: uint16, numbers of the cells, 0 outside the tissue. label: uint8, 1 in
    nuclei, 2 in membranes, else 0. boundary: uint8, 1 in membranes.
    """

    raw: np.ndarray
    cells: np.ndarray
    label: np.ndarray

    @property
    def boundary(self) -> np.ndarray:
        """Membranes alone."""
        return (self.label == 2).astype(np.uint8)


def render_cells(seed: int, split: str, index: int, shape: Shape) -> Cells:
    """Return volume `index` of a split; it depends on these alone."""
    rng = generator(seed, "toy volumes", SPLITS.index(split), index)
    centres = _centres(rng, shape)
    voxels = np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3).astype(np.float64)
    distance, owner = cKDTree(centres).query(voxels, k=2)
    apart = np.linalg.norm(centres[owner[:, 0]] - centres[owner[:, 1]], axis=1)
    to_wall = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * apart)
    half = (np.array(shape) - 1) / 2
    radius = np.linalg.norm((voxels - half) / half, axis=1)
    inside = radius < TISSUE * (1 + 0.05 * rng.random())
    skin = inside & (radius > TISSUE - 1.5 * MEMBRANE / half.min())
    wall = inside & ((to_wall < MEMBRANE) | skin)
    size = NUCLEUS * (0.85 + 0.3 * rng.random(len(centres)))
    nucleus = inside & ~wall & (distance[:, 0] < size[owner[:, 0]])
    grey = np.where(inside, CYTOPLASM, OUTSIDE)
    brightness = NUCLEAR * (0.85 + 0.3 * rng.random(len(centres)))
    grey[nucleus] = brightness[owner[:, 0]][nucleus]
    grey[wall] = WALL
    label = np.where(wall, 2, np.where(nucleus, 1, 0)).astype(np.uint8)
    cells = np.where(inside, owner[:, 0] + 1, 0).astype(np.uint16)
    raw = _seen(grey.reshape(shape), rng)
    return Cells(raw, cells.reshape(shape), label.reshape(shape))


def _centres(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Return where cells are, float64 [cells, 3]: on a grid, each moved a little."""
    axes = [np.arange(-SPACING / 2, side + SPACING, SPACING) for side in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return grid + SPACING * JITTER * (2 * rng.random(grid.shape) - 1)


def _seen(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what a microscope sees: blurred, darker in the depth, noisy; uint8."""
    light = np.linspace(1, 1 - FADES, len(grey))[:, None, None]
    seen = ndimage.gaussian_filter(grey, BLUR) * light + NOISE * normal(rng, grey.shape)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


def _write_h5(root: Path, split: str, name: str, cells: Cells) -> None:
    arrays = {"raw": cells.raw, "label": cells.label, "boundary": cells.boundary}
    arrays["cells"] = cells.cells
    write_hdf5(root / split / f"{name}.h5", arrays, {"element_size_um": np.array(VOXEL_UM)})


def _write_npz(root: Path, split: str, name: str, cells: Cells) -> None:
    arrays = {"raw": cells.raw, "label": cells.label, "boundary": cells.boundary}
    write_npz(root / split / f"{name}.npz", {**arrays, "cells": cells.cells})


def _write_nifti(root: Path, split: str, name: str, cells: Cells) -> None:
    geometry = {"affine": np.diag([*reversed(VOXEL_UM), 1.0])}
    write_nifti(root / split / f"{name}.nii.gz", cells.raw, geometry)
    (root / LABELS).mkdir(exist_ok=True)
    write_nifti(root / LABELS / f"{name}.nii.gz", cells.label, geometry)


FORMATS: dict[str, Callable[[Path, str, str, Cells], None]] = {
    "h5": _write_h5,
    "nii.gz": _write_nifti,
    "npz": _write_npz,
}


def write_toy_volumes(
    folder: str | Path,
    *,
    format: str = "h5",
    train: int = 6,
    val: int = 2,
    shape: Shape = (32, 64, 64),
    seed: int = 0,
    force: bool = False,
    progress: Progress = None,
) -> dict[str, Any]:
    """Write toy volumes to `folder` and return what its marker file holds.

    The set is made beside it and renamed, so `folder` is complete or as it was.

    Args:
        folder: absent or empty; with `force` also an earlier set of toy volumes.
        format: of the files: "h5" and "npz" hold `raw`, `label` (0 rest, 1 nucleus, 2 membrane),
            `boundary` and `cells`; of "nii.gz" labels lie in the folder `labels`.
        train, val: number of volumes.
        shape: depth, height, width in voxels.
        seed: at least 0.
        force: replace an earlier set.
        progress: called with (volumes written, volumes in all).

    Raises:
        ConfigError: numbers that make no sense. DataError: `folder` holds something else, cannot
        be written, or the library of the format is not installed.
    """
    if format not in FORMATS:
        raise ConfigError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    if train < 1 or val < 1 or min(shape) < SMALLEST or seed < 0:
        raise ConfigError(
            f"toy volumes: expected at least one train and one val volume of at least {SMALLEST} "
            f"voxels a side and a seed of at least 0, got train {train}, val {val}, shape "
            f"{'x'.join(map(str, shape))}, seed {seed}"
        )
    about = {"made_by": LAYOUT.maker, "version": VERSION, "seed": seed, "format": format}
    about |= {"train": train, "val": val, "shape": list(shape)}
    target = Path(folder).absolute()
    require_replaceable(LAYOUT, target, force)
    try:
        with whole_folder(target) as draft:
            _write(draft, about, progress)
            (draft / MARKER).write_text(json.dumps(about, indent=2) + "\n")
    except UserError as error:
        raise DataError(f"{LAYOUT.title}: {error}") from error
    return about


def _write(root: Path, about: dict[str, Any], progress: Progress) -> None:
    done, total = 0, about["train"] + about["val"]
    for split in SPLITS:
        (root / split).mkdir()
        for index in range(about[split]):
            cells = render_cells(about["seed"], split, index, tuple(about["shape"]))
            FORMATS[about["format"]](root, split, f"{split}_{index:03d}", cells)
            done += 1
            if progress:
                progress(done, total)


LAYOUT = ToyLayout("toy volumes", MARKER, (*SPLITS, LABELS), _write, "make_toy_volumes")
