"""A volume as a picture: the middle slices across its three axes, side by side."""

from collections.abc import Sequence

import numpy as np

GAP = 2  # pixels between slices
PAPER = 1.0  # between them
DARK, BRIGHT = 1.0, 99.0  # percentiles of the voxels that become black and white


def slices(volume: np.ndarray, at: Sequence[int] | None = None) -> list[np.ndarray]:
    """Return the slices (z), (y), (x) of a volume [D, H, W, ...]: the middle ones, or `at`."""
    z, y, x = at or [side // 2 for side in volume.shape[:3]]
    return [volume[z], volume[:, y], volume[:, :, x]]


def side_by_side(pictures: Sequence[np.ndarray], paper: float = PAPER) -> np.ndarray:
    """Return pictures [h, w, 3] of one dtype beside each other, at the top."""
    height = max(len(picture) for picture in pictures)
    width = sum(picture.shape[1] + GAP for picture in pictures) - GAP
    whole = np.full((height, width, 3), paper, pictures[0].dtype)
    left = 0
    for picture in pictures:
        whole[: len(picture), left : left + picture.shape[1]] = picture
        left += picture.shape[1] + GAP
    return whole


def stretched(volume: np.ndarray) -> np.ndarray:
    """Return the slices of a volume [C, D, H, W], its first channel in grey: [h, w, 3], 0..1."""
    parts = slices(volume[0])
    low, high = np.percentile(np.concatenate([part.ravel() for part in parts]), (DARK, BRIGHT))
    scale = max(float(high - low), 1e-12)
    grey = [np.clip((part.astype(np.float64) - low) / scale, 0, 1) for part in parts]
    return side_by_side([np.repeat(part[..., None], 3, 2) for part in grey])


def label_slices(classes: np.ndarray) -> np.ndarray:
    """Return the slices of classes [D, H, W] beside each other, 255 between them: uint8 [h, w]."""
    parts = [part.astype(np.uint8) for part in slices(classes)]
    return side_by_side([np.repeat(part[..., None], 3, 2) for part in parts], 255)[..., 0]


def as_classes(masks: np.ndarray) -> np.ndarray:
    """Return masks [C, ...] of 0 and 1 as numbers for a picture: the last one there, else 255."""
    shown = np.full(masks.shape[1:], 255, np.uint8)
    for number, mask in enumerate(masks):
        shown[mask == 1] = number
    return shown
