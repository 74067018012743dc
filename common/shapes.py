"""Numbers of a net that are the same in every framework: widths and fixed kernels."""

from collections.abc import Sequence

import numpy as np

from common.errors import ConfigError, UserError

FULL_WIDTH = 64  # channels of the first stage of VGG, ResNet and U-Net


def first_width(width: float, least: int = 1) -> int:
    """Return the channels of a net's first stage, 64 times `width`; the others follow from it.

    width: 1.0 is the authors' net; smaller ones are for toy training. Raises ConfigError where
    fewer than `least` would be left.
    """
    channels = int(FULL_WIDTH * width) if 0 < width < float("inf") else 0
    if channels < least:
        raise ConfigError(
            f"width is {width}; set a finite number of at least {least / FULL_WIDTH} (1.0 is the "
            "full net)"
        )
    return channels


def stepped_width(channels: float, width: float, step: int) -> int:
    """Return `channels` times `width`, a multiple of `step` (heads, say) and at least that.

    width: as of `first_width`. Raises ConfigError where it is no finite number above 0.
    """
    if not 0 < width < float("inf"):
        raise ConfigError(f"width is {width}; set a finite number above 0 (1.0 is the full net)")
    return step * max(1, int(channels * width / step))


def check_volume(shape: Sequence[int], channels: int, levels: int) -> None:
    """Raise UserError unless `shape` is [N, channels, D, H, W] that can be halved levels - 1 times.

    levels: resolutions of the net.
    """
    sizes, least = list(shape), 2 ** (levels - 1)
    if len(sizes) != 5 or sizes[1] != channels:
        raise UserError(f"the net takes volumes [N, {channels}, D, H, W], got {sizes}")
    if min(sizes[2:]) < least:
        raise UserError(
            f"a net of {levels} levels takes volumes of at least {least} voxels a side, got {sizes}"
        )


def checked_window(window: Sequence[int] | None) -> tuple[int, int] | None:
    """Return `window` (height, width) as two whole numbers, None as None.

    Raises ConfigError for anything else.
    """
    if window is None:
        return None
    numbers = list(window) if isinstance(window, list | tuple) else []
    if len(numbers) != 2 or not all(type(one) is int and one > 0 for one in numbers):
        raise ConfigError(
            f"pool_window is {window!r}; set [height, width] in cells of the backbone's last map, "
            "or none of it for the average of the whole map"
        )
    return numbers[0], numbers[1]


def checked_grids(num_grids: Sequence[int]) -> tuple[int, ...]:
    """Return SOLO's `num_grids`, cells on a side, as five whole numbers.

    Raises ConfigError for anything else.
    """
    numbers = list(num_grids) if isinstance(num_grids, list | tuple) else []
    if len(numbers) != 5 or not all(type(one) is int and one > 0 for one in numbers):
        raise ConfigError(
            f"num_grids is {num_grids!r}; set five whole numbers above 0, the cells on a side of "
            "each level, as [40, 36, 24, 16, 12]"
        )
    return tuple(numbers)


def coordinates(height: int, width: int) -> np.ndarray:
    """Return the places of the pixels of a map, [1, 2, height, width] float64: x, then y.

    From -1, the middle of the first, to 1, that of the last.
    """
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([x, y])[None]


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


def bilinear_matrix(
    size: int, count: int, align_corners: bool = False, step: float | None = None
) -> np.ndarray:
    """Return the matrix [count, size] float64 that resizes a line of `size` samples bilinearly.

    step: distance of two results in the source. Default: what `size`, `count` and
    `align_corners` make of it, as in `torch.nn.functional.interpolate`.
    """
    if align_corners:
        place = np.arange(count) * ((size - 1) / (count - 1) if count > 1 else 0.0)
    else:
        place = (np.arange(count) + 0.5) * (size / count if step is None else step) - 0.5
    place = np.maximum(place, 0.0)
    left = np.minimum(place.astype(int), size - 1)
    right = np.minimum(left + 1, size - 1)
    matrix = np.zeros([count, size])
    np.add.at(matrix, (np.arange(count), left), 1 - (place - left))
    np.add.at(matrix, (np.arange(count), right), place - left)
    return matrix


def nearest_places(size: int, count: int) -> np.ndarray:
    """Return which of `size` pixels each of `count` takes in PIL's nearest resize: [count] int64.

    The middle of each, cut to a whole number; summed up one by one as PIL does, which decides
    where it falls between two pixels.
    """
    step = size / count
    return np.cumsum([step * 0.5] + [step] * (count - 1)).astype(np.int64)


def relative_places(length: int) -> np.ndarray:
    """Return where the distance of two of `length` pixels stands in a table: [length ** 2] int64.

    The table holds the distances -(length - 1) to length - 1. Row i, column j of the result, laid
    flat, is i - j + length - 1 (csrhddlam/axial-deeplab, lib/models/axialnet.py:41-43).
    """
    place = np.arange(length)
    return (place[:, None] - place + length - 1).reshape(-1)


def refuse_size(found: Sequence[int], expected: int | None, step: int) -> None:
    """Refuse an image of another size (height, width) than a net with tables of positions takes.

    expected: height and width that the tables are made for; None: any multiple of `step` will do.
    Raises UserError. A size that an export leaves open (-1) is not looked at.
    """
    known = [length for length in found if length > 0]
    if expected is not None and any(length != expected for length in known):
        raise UserError(
            f"image: expected {expected}x{expected}, the size that the net's tables of positions "
            f"are made for, got {found[0]}x{found[1]}; resize or crop the image, or build the net "
            "with image_size of yours"
        )
    if any(length % step for length in known):
        raise UserError(
            f"image: expected a height and a width that are multiples of {step}, got "
            f"{found[0]}x{found[1]}; resize, crop or pad the image"
        )
