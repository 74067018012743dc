"""Numbers of a net that are the same in every framework: widths and fixed kernels."""

import numpy as np

from common.errors import ConfigError


def first_width(width: float, full: int = 64) -> int:
    """Return the channels of a net's first stage, `full` times `width`; the others follow from it.

    width: 1.0 is the authors' net; smaller ones are for toy training. Raises ConfigError where
    nothing would be left.
    """
    channels = int(full * width) if 0 < width < float("inf") else 0
    if channels < 1:
        raise ConfigError(
            f"width is {width}; set a finite number of at least {1 / full} (1.0 is the full net)"
        )
    return channels


def bilinear_kernel(channels: int, size: int) -> np.ndarray:
    """Return the weight of a transposed convolution that upsamples each channel bilinearly.

    [channels, channels, size, size] float64, a tent on the diagonal and 0 elsewhere. `size` is
    twice the stride: the values sum to stride squared.
    Source: wkentaro/pytorch-fcn, torchfcn/models/fcn32s.py, get_upsampling_weight.
    """
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    tent = 1 - np.abs(np.arange(size) - centre) / factor
    kernel = np.zeros([channels, channels, size, size])
    kernel[np.arange(channels), np.arange(channels)] = np.outer(tent, tent)
    return kernel


def bilinear_matrix(size: int, factor: float) -> np.ndarray:
    """Return the matrix [int(size * factor), size] float64 that resizes a line bilinearly.

    Pixels are squares (align_corners=False), and 1 / factor is the step between samples even
    where int() cut off a part of one: torch's rule for `interpolate(scale_factor=factor)`.
    """
    count = int(size * factor)
    place = np.maximum((np.arange(count) + 0.5) / factor - 0.5, 0.0)
    left = np.minimum(place.astype(int), size - 1)
    right = np.minimum(left + 1, size - 1)
    share = place - left
    matrix = np.zeros([count, size])
    np.add.at(matrix, (np.arange(count), left), 1 - share)
    np.add.at(matrix, (np.arange(count), right), share)
    return matrix
