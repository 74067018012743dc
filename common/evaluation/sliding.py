"""At which size a net sees an image: resized as a whole, or in windows that slide over it.

Sources: MichaelFan01/STDC-Seg, evaluation.py, MscEvalV0; hszhao/semseg, tool/test.py.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np


def scaled_size(size_hw: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width at which the net sees a frame: cut to whole pixels, at least one."""
    height, width = size_hw
    return max(int(height * scale), 1), max(int(width * scale), 1)


def padded(image: np.ndarray, multiple: int, beyond: int = 0) -> np.ndarray:
    """Return images [N, 3, H, W] with sides that are multiples, and `beyond` more.

    What is added, below and at the right, is 0, the mean.
    """
    below, right = (-(size - beyond) % multiple for size in image.shape[2:])
    if not below and not right:
        return image
    return np.pad(image, ((0, 0), (0, 0), (0, below), (0, right)))


def sliding_rows(
    probabilities: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    window_hw: tuple[int, int],
    stride: float,
) -> Iterator[np.ndarray]:
    """Yield class probabilities of `image` [N, 3, H, W] as semseg's test has them, from the top on.

    Windows begin every `stride` of their size, the last ones at the border; where they overlap, the
    mean is taken. A smaller image is padded on all sides with 0, the normalised mean. A strip,
    [N, C, h, W], is yielded as soon as no further window reaches it: no more than a row of windows
    is ever in memory.

    Args:
        probabilities: of a window float32 [N, 3, h, w]: [N, C, h, w].
    """
    (top, left), padded = _padded(image, window_hw)
    rows, columns = (starts(s, w, stride) for s, w in zip(padded.shape[2:], window_hw, strict=True))
    across, held = _covering(columns, window_hw[1]), np.zeros(0)
    times = np.zeros(padded.shape[2])
    for start in rows:
        times[start : start + window_hw[0]] += 1
    for start, following in zip(rows, [*rows[1:], padded.shape[2]], strict=True):
        strip = padded[:, :, start : start + window_hw[0]]
        total = _summed(probabilities, strip, columns, window_hw[1], held)
        done = following - start
        mean = total[:, :, :done] / (times[start:following, None] * across).astype(total.dtype)
        held = total[:, :, done:]
        first, last = max(top - start, 0), min(top + image.shape[2] - start, done)
        if first < last:
            yield mean[:, :, first:last, left : left + image.shape[3]]


def starts(size: int, window: int, stride: float) -> list[int]:
    """Where windows begin that cover `size` pixels, at least as many as a window has."""
    step = math.ceil(window * stride)
    count = math.ceil((size - window) / step) + 1
    return [min(index * step, size - window) for index in range(count)]


def windows(
    size_hw: tuple[int, ...], window_hw: tuple[int, int], stride: float
) -> list[tuple[slice, slice]]:
    """The windows that cover an image at least as large as one of them."""
    rows, columns = (starts(s, w, stride) for s, w in zip(size_hw, window_hw, strict=True))
    height, width = window_hw
    return [(slice(y, y + height), slice(x, x + width)) for y in rows for x in columns]


def _padded(image: np.ndarray, window_hw: tuple[int, int]) -> tuple[tuple[int, int], np.ndarray]:
    """Return (top, left) of `image` in an array at least as large as a window, and that array."""
    sides = [_pads(s, w) for s, w in zip(image.shape[2:], window_hw, strict=True)]
    if any(map(any, sides)):
        image = np.pad(image, [(0, 0), (0, 0), *sides])
    return (sides[0][0], sides[1][0]), image


def _pads(size: int, window: int) -> tuple[int, int]:
    """How many pixels are missing to a window, before and after."""
    missing = max(window - size, 0)
    return missing // 2, missing - missing // 2


def _covering(columns: list[int], window: int) -> np.ndarray:
    """How many windows cover each column."""
    counts = np.zeros(columns[-1] + window)
    for start in columns:
        counts[start : start + window] += 1
    return counts


def _summed(
    probabilities: Callable[[np.ndarray], np.ndarray],
    strip: np.ndarray,
    columns: list[int],
    window: int,
    held: np.ndarray,
) -> np.ndarray:
    """Return the sum over a row of windows; `held` is what earlier rows gave its upper part."""
    total = np.zeros(0)
    for start in columns:
        part = np.ascontiguousarray(strip[..., start : start + window])
        found = probabilities(part)
        if not total.size:
            total = np.zeros((*found.shape[:2], *strip.shape[2:]), found.dtype)
            if held.size:
                total[:, :, : held.shape[2]] = held
        total[..., start : start + window] += found
    return total
