"""Where RoIAlign (He et al., ICCV 2017) samples a map, as the compiled kernels do."""

import math

import numpy as np


def roi_samples(
    boxes: np.ndarray,
    size: tuple[int, int],
    bins: int,
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[int, int]]:
    """Return the four cells around each sample with their shares, and the samples of a bin (y, x).

    Cells are int64 [K * bins * y * bins * x], row * width + column, in the order box, bin, sample
    of y and then bin, sample of x; shares are of the boxes' dtype, and 0 for a sample more than a
    cell outside of the map.

    Args:
        boxes: [K, 4] in pixels.
        size: rows and columns of the map.
        bins: of a side.
        scale: cells for a pixel.
        sampling_ratio: samples of a bin's side; 0 or less: as many as the largest box's has cells.
        aligned: cells' centres are at their half places; False: at their whole ones, and no box is
            thinner than a cell.
    """
    boxes = boxes * scale - (0.5 if aligned else 0.0)
    sides = boxes[:, 2:] - boxes[:, :2]
    sides = sides if aligned else np.maximum(sides, 1.0)
    y, rows = _places(boxes[:, 1], sides[:, 1], bins, sampling_ratio)
    x, columns = _places(boxes[:, 0], sides[:, 0], bins, sampling_ratio)
    found = [
        (
            (row[:, :, None] * size[1] + column[:, None, :]).reshape(-1),
            (row_share[:, :, None] * column_share[:, None, :]).reshape(-1),
        )
        for row, row_share in _neighbours(y, size[0])
        for column, column_share in _neighbours(x, size[1])
    ]
    return found, (rows, columns)


def _places(
    start: np.ndarray, side: np.ndarray, bins: int, sampling_ratio: int
) -> tuple[np.ndarray, int]:
    """Return where an axis is sampled, [K, bins * count] in cells, and `count`, samples of a bin.

    The order of the operations is the kernels', so that a sample at the very border stays there.
    """
    count = sampling_ratio
    if count <= 0:
        count = max([1, *[math.ceil(length / bins) for length in side]])
    start, step = start[:, None, None], side[:, None, None] / bins
    bin_of = np.arange(bins, dtype=start.dtype).reshape([1, -1, 1])
    sample_of = np.arange(count, dtype=start.dtype).reshape([1, 1, -1])
    places = start + bin_of * step + (sample_of + 0.5) * step / count
    return places.reshape([-1, bins * count]), count


def _neighbours(places: np.ndarray, length: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the two cells of an axis that each of `places` lies between, and their shares."""
    inside = ((places >= -1) & (places <= length)).astype(places.dtype)
    places = np.clip(places, 0, length - 1)
    low = np.floor(places).astype(np.int64)
    share = places - low.astype(places.dtype)
    return [(low, (1 - share) * inside), (np.minimum(low + 1, length - 1), share * inside)]
