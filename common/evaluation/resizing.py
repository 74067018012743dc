"""Bilinear resizing and argmax of arrays, as the frameworks have them, without one.

For nets that are files: what a framework does beside its net is done here then.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from common.errors import UserError

_ROWS = 64  # of a strip: what is computed of full-size logits at a time


def resize(array: np.ndarray, size_hw: Sequence[int], align_corners: bool) -> np.ndarray:
    """Return float [N, C, h, w] at `size_hw` (height, width), as `F.interpolate`, bilinear."""
    height, width = size_hw
    if array.shape[2:] == (height, width):
        return array
    if not align_corners and array.dtype == np.float32:
        return _by_opencv(array, (height, width))
    if height > array.shape[2]:  # the smaller array is the one whose columns are picked
        return _rows(_columns(array, width, align_corners), height, align_corners)
    return _columns(_rows(array, height, align_corners), width, align_corners)


def argmax_of(scores: np.ndarray) -> np.ndarray:
    """Return the class of the largest score of [N, C, H, W], the first of equal ones: int64.

    Raises UserError where a score is NaN: there is no largest.
    """
    return _argmax([scores[:, index] for index in range(scores.shape[1])])


def _argmax(planes: Iterable[np.ndarray]) -> np.ndarray:
    """Return the index of the largest of some planes [N, H, W], which may be made one by one."""
    rest = iter(planes)
    best = next(rest).copy()
    classes = np.zeros(best.shape, np.uint16)  # small, for it is gone through for every plane
    for index, plane in enumerate(rest, start=1):
        np.copyto(classes, index, where=plane > best)
        np.maximum(best, plane, out=best)
    if np.isnan(best).any():
        raise UserError(
            "could not check: the net's scores are NaN for some pixels; look at its weights "
            "(NaN or infinite values?) and at the image's normalisation"
        )
    return classes.astype(np.int64)


def resized_argmax(logits: np.ndarray, size_hw: Sequence[int], align_corners: bool) -> np.ndarray:
    """Return `argmax_of(resize(...))` without ever holding the logits at `size_hw`."""
    height, width = size_hw
    if logits.shape[2:] == (height, width):
        return argmax_of(logits)
    if not align_corners and logits.dtype == np.float32:
        count = logits.shape[1]
        return _argmax(
            _by_opencv(logits[:, i : i + 1], (height, width))[:, 0] for i in range(count)
        )
    classes = np.empty((len(logits), height, width), np.int64)
    for top in range(0, height, _ROWS):
        end = min(top + _ROWS, height)
        places = _places(logits.shape[2], top, end, height, align_corners)
        first, last = int(places[0][0]), int(places[1][-1]) + 1
        wide = _columns(logits[:, :, first:last], width, align_corners)
        low, high, share = places
        classes[:, top:end] = argmax_of(_between(wide, low - first, high - first, share))
    return classes


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the classes of [N, C, H, W]."""
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def _by_opencv(array: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    out = np.empty((*array.shape[:2], *size_hw), array.dtype)
    for image, made in zip(array, out, strict=True):
        for channel, place in zip(image, made, strict=True):
            cv2.resize(channel, size_hw[::-1], dst=place, interpolation=cv2.INTER_LINEAR)
    return out


def _columns(array: np.ndarray, width: int, align_corners: bool) -> np.ndarray:
    """Return [N, C, h, w] at `width`."""
    if array.shape[3] == width:
        return array
    low, high, share = _places(array.shape[3], 0, width, width, align_corners)
    share = share.astype(array.dtype)
    left = np.take(array, low, axis=3)
    made = np.take(array, high, axis=3)
    made -= left
    made *= share
    made += left
    return made


def _rows(array: np.ndarray, height: int, align_corners: bool) -> np.ndarray:
    """Return [N, C, h, W] at `height`."""
    if array.shape[2] == height:
        return array
    return _between(array, *_places(array.shape[2], 0, height, height, align_corners))


def _between(array: np.ndarray, low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return rows of [N, C, h, W] between the rows `low` and `high`."""
    made = array[:, :, high]
    upper = array[:, :, low]
    made -= upper
    made *= share.astype(array.dtype)[:, None]
    made += upper
    return made


def _places(
    size: int, first: int, last: int, out: int, align_corners: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two neighbours of places first..last-1 of `out`, and the share of the second."""
    places = np.arange(first, last, dtype=np.float64)
    if align_corners:
        places *= (size - 1) / (out - 1) if out > 1 else 0.0
    else:
        places = ((places + 0.5) * (size / out) - 0.5).clip(0)
    low = np.minimum(places.astype(np.int64), size - 1)
    return low, np.minimum(low + 1, size - 1), places - low
