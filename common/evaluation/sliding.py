"""At which size a net sees an image: resized as a whole, or in windows that slide over it.

Sources: MichaelFan01/STDC-Seg, evaluation.py, MscEvalV0; hszhao/semseg, tool/test.py.
"""

import math
from collections.abc import Callable

import numpy as np

from common.settings.run import Evaluate


def scaled_size(size_hw: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width at which the net sees a frame: cut to whole pixels, at least one."""
    height, width = size_hw
    return max(int(height * scale), 1), max(int(width * scale), 1)


def slide(
    probabilities: Callable[[np.ndarray], np.ndarray], image: np.ndarray, options: Evaluate
) -> np.ndarray:
    """Return class probabilities [N, C, H, W] of `image` [N, 3, H, W] as semseg's test does.

    Windows of `options.window_hw` begin every `options.stride` of their size, the last ones at
    the border; where they overlap, and with `options.flip` over each window's mirror image, the
    mean is taken. A smaller image is padded on all sides with 0, the normalised mean.

    Args:
        probabilities: of a window float32 [N, 3, h, w]: [N, C, h, w].
    """
    assert options.window_hw is not None
    height, width = image.shape[2:]
    sides = [
        pads(size, window) for size, window in zip((height, width), options.window_hw, strict=True)
    ]
    padded = np.pad(image, [(0, 0), (0, 0), *sides])
    total, counts = np.zeros(0), np.zeros(padded.shape[2:])
    for window in windows(padded.shape[2:], options.window_hw, options.stride):
        part = np.ascontiguousarray(padded[..., window[0], window[1]])
        scores = probabilities(part)
        if options.flip:
            mirrored = probabilities(np.ascontiguousarray(part[..., ::-1]))
            scores = (scores + mirrored[..., ::-1]) / 2
        if not total.size:
            total = np.zeros((*scores.shape[:2], *padded.shape[2:]), scores.dtype)
        total[..., window[0], window[1]] += scores
        counts[window] += 1
    mean: np.ndarray = total / counts
    (top, _), (left, _) = sides
    return mean[..., top : top + height, left : left + width]


def pads(size: int, window: int) -> tuple[int, int]:
    """How many pixels are missing to a window, before and after."""
    missing = max(window - size, 0)
    return missing // 2, missing - missing // 2


def windows(
    size_hw: tuple[int, ...], window_hw: tuple[int, int], stride: float
) -> list[tuple[slice, slice]]:
    """The windows that cover an image at least as large as one of them."""
    axes = []
    for size, window in zip(size_hw, window_hw, strict=True):
        step = math.ceil(window * stride)
        count = math.ceil((size - window) / step) + 1
        starts = [min(index * step, size - window) for index in range(count)]
        axes.append([slice(start, start + window) for start in starts])
    return [(rows, columns) for rows in axes[0] for columns in axes[1]]
