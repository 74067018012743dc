"""Objects as pictures: every one in a colour of its own near that of its class, and outlined."""

from collections.abc import Sequence

import cv2
import numpy as np

from common.instances.post import PhotoObjects
from common.panoptic.pictures import Segments, outlined, overlay

DIVISOR = 1000  # of a map of objects: class * divisor + number
BOX = (255, 255, 255)


def segments_of(found: PhotoObjects, size_hw: tuple[int, int]) -> Segments:
    """Return the objects as segments of a map [H, W]; the best lies on top of the others."""
    numbers: dict[int, int] = {}
    named = []
    for label in found.labels.tolist():
        numbers[label] = numbers.get(label, 0) + 1
        named.append(label * DIVISOR + numbers[label])
    laid = np.full(size_hw, -1, np.int64)
    for number, mask in zip(named[::-1], found.masks[::-1], strict=True):
        height, width = mask.shape
        laid[:height, :width][mask] = number
    return Segments(laid, DIVISOR, tuple(numbers))


def painted_objects(
    found: PhotoObjects, size_hw: tuple[int, int], colors: np.ndarray
) -> np.ndarray:
    """Return uint8 [H, W, 3]: masks and boxes on black, of an image padded to `size_hw`."""
    return _boxed(outlined(segments_of(found, size_hw), colors), found.boxes)


def objects_on(photo: np.ndarray, found: PhotoObjects, colors: np.ndarray) -> np.ndarray:
    """Return uint8 [H, W, 3]: the photo tinted by object, masks outlined, and boxes."""
    size = (photo.shape[0], photo.shape[1])
    return _boxed(overlay(photo, segments_of(found, size), colors), found.boxes)


def _boxed(picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    made = np.ascontiguousarray(picture)
    for left, top, right, bottom in boxes.tolist():
        start, end = (round(left), round(top)), (round(right) - 1, round(bottom) - 1)
        cv2.rectangle(made, start, end, BOX, 1)
    return made


def boxes_in(boxes: Sequence[Sequence[float]], factors: Sequence[float]) -> np.ndarray:
    """Return boxes x, y, width, height of COCO as corners, `factors` (x, y) times as large."""
    given = np.array(boxes, np.float64).reshape(-1, 4)
    corners = np.concatenate([given[:, :2], given[:, :2] + given[:, 2:]], axis=1)
    return np.asarray(corners * [*factors, *factors])
