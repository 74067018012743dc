"""From a net's maps to a panoptic map: Panoptic-DeepLab's grouping and MaX-DeepLab's pixel rule.

A panoptic map holds class * label_divisor + number of the instance; stuff has number 0.
"""

from collections.abc import Collection, Sequence
from typing import Any

import cv2
import numpy as np

from common.errors import ConfigError, DataError
from common.evaluation.resizing import resize
from common.panoptic.max_deeplab.targets import class_order
from common.panoptic.segments import thing_classes

_CLASSES = 1 << 16  # that a map may have
_PIXELS = 1 << 15  # whose distances are compared at a time


def panoptic_deeplab_panoptic(
    semantic: np.ndarray,
    center: np.ndarray,
    offset: np.ndarray,
    *,
    things: Collection[int] | np.ndarray,
    threshold: float = 0.1,
    nms_kernel: int = 7,
    top_k: int | None = 200,
    label_divisor: int = 1000,
    stuff_area: int = 2048,
    void_label: int = -1,
) -> tuple[np.ndarray, np.ndarray]:
    """Group the pixels of things around centres, and paste stuff where it is large enough.

    Centres are pixels above `threshold` that are the largest of the square of `nms_kernel` around
    them; each of equal neighbours is one. Of `top_k` or more, those strictly above the value of
    number `top_k` stay: of exactly `top_k` different ones the last is lost, of `top_k` equal ones
    all. Each pixel of a thing goes to the centre nearest to where its offset leads, of equal ones
    to the first in reading order. A group's class is that of most of its pixels, of equal ones the
    smallest. Without a centre no thing is pasted.

    Source: bowenc0221/panoptic-deeplab, segmentation/model/post_processing/
    instance_post_processing.py (at cf8e20b); detectron2's (post_processing.py, at 02b5c4e) gives
    the same.

    Args:
        semantic: classes, whole numbers [H, W].
        center: float [1, H, W], the heat map as the net gives it.
        offset: float [2, H, W], to the centre, y and x, in pixels.
        things: the classes that are things, or a truth value for every class.
        threshold, nms_kernel, top_k: of the centres; top_k None: all of them.
        label_divisor: the step from class to class.
        stuff_area: pixels that a class of stuff has at least.
        void_label: of the pixels left over; the authors have 255 * label_divisor, detectron2 -1.

    Returns:
        panoptic: int64 [H, W]. centres: int64 [K, 2], y and x, in reading order.

    Raises:
        ConfigError: an even `nms_kernel`. DataError: shapes that do not fit, NaN, or an image with
            more instances of a class than ids.
    """
    _require_maps(semantic, center, offset)
    centres = _centres(center[0], threshold, nms_kernel, top_k)
    areas = np.bincount(semantic.ravel().astype(np.int64, copy=False))
    is_thing = np.isin(np.arange(len(areas)), thing_classes(things))
    pasted = ~is_thing & (areas >= stuff_area)
    panoptic = np.where(pasted, np.arange(len(areas)) * label_divisor, void_label)[semantic]
    if len(centres):
        thing = is_thing[semantic]
        groups = _nearest(centres, offset, thing)
        panoptic[thing] = _voted(semantic[thing], groups, len(centres), label_divisor)
    return panoptic, centres


def _require_maps(semantic: np.ndarray, center: np.ndarray, offset: np.ndarray) -> None:
    size = semantic.shape
    if semantic.ndim != 2 or center.shape != (1, *size) or offset.shape != (2, *size):
        raise DataError(
            f"grouping: expected semantic [H, W], center [1, H, W] and offset [2, H, W], got "
            f"{list(size)}, {list(center.shape)} and {list(offset.shape)}"
        )
    if semantic.dtype.kind not in "iu" or not 0 <= semantic.min() <= semantic.max() < _CLASSES:
        raise DataError(
            f"grouping: semantic must be classes, whole numbers 0..{_CLASSES - 1}, got "
            f"{semantic.dtype}, {semantic.min()} to {semantic.max()}"
        )
    for name, values in (("center", center), ("offset", offset)):
        if not np.isfinite(values).all():
            raise DataError(
                f"could not check: the net's {name} is NaN or infinite for some pixels; look at "
                "its weights and at the image's normalisation"
            )


def _centres(heat: np.ndarray, threshold: float, kernel: int, top_k: int | None) -> np.ndarray:
    """Return the peaks of a heat map [H, W]: int64 [K, 2], y and x, in reading order."""
    if kernel < 1 or kernel % 2 == 0 or (top_k is not None and top_k < 1):
        raise ConfigError(
            f"grouping: expected an odd nms_kernel and a top_k of at least 1, got {kernel} and "
            f"{top_k}"
        )
    low = heat.dtype.type(-1)
    heat = np.where(heat > threshold, heat, low)
    # What lies outside does not win: OpenCV's border is the smallest value here.
    highest = cv2.dilate(heat, np.ones((kernel, kernel), np.uint8))
    peaks = (heat == highest) & (heat > 0)
    if top_k is not None and np.count_nonzero(peaks) >= top_k:
        values = heat[peaks]
        peaks &= heat > np.partition(values, len(values) - top_k)[len(values) - top_k]
    return np.argwhere(peaks)


def _nearest(centres: np.ndarray, offset: np.ndarray, thing: np.ndarray) -> np.ndarray:
    """Return the number of the centre of every pixel of `thing`, row by row: int64 [pixels]."""
    y, x = np.nonzero(thing)
    y, x = y.astype(offset.dtype) + offset[0][thing], x.astype(offset.dtype) + offset[1][thing]
    found = np.zeros(len(y), np.int64)
    points = centres.astype(offset.dtype)
    for first in range(0, len(y), _PIXELS):
        part = slice(first, first + _PIXELS)
        found[part] = _nearest_of(points, y[part], x[part])
    return found


def _nearest_of(points: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the number of the nearest of `points` [K, 2] for every place, the first of equals."""
    nearest = np.zeros(len(y), np.int64)
    least = np.full(len(y), np.inf, y.dtype)
    for number, (center_y, center_x) in enumerate(points):
        # The root too: it makes distances equal that are not, as it does with the authors.
        distance = np.sqrt((center_y - y) ** 2 + (center_x - x) ** 2)
        nearer = distance < least
        nearest[nearer] = number
        least[nearer] = distance[nearer]
    return nearest


def _voted(classes: np.ndarray, groups: np.ndarray, count: int, divisor: int) -> np.ndarray:
    """Return the panoptic id of pixels of things by their classes and groups, both [pixels]."""
    kinds = int(classes.max(initial=0)) + 1
    cells = groups * kinds + classes.astype(np.int64)
    votes = np.bincount(cells, minlength=count * kinds).reshape(count, kinds)
    ids = np.zeros(count, np.int64)
    numbers: dict[int, int] = {}
    for group in np.flatnonzero(votes.sum(1)).tolist():
        chosen = int(votes[group].argmax())
        numbers[chosen] = numbers.get(chosen, 0) + 1
        ids[group] = chosen * divisor + numbers[chosen]
    if max(numbers.values(), default=0) >= divisor:
        raise DataError(
            f"grouping: {max(numbers.values())} instances of one class in an image, and the "
            f"label_divisor {divisor} has ids for {divisor - 1}; raise it, or lower top_k"
        )
    named: np.ndarray = ids[groups]
    return named


def max_deeplab_panoptic(
    mask_logits: np.ndarray,
    class_logits: np.ndarray,
    *,
    things: Collection[int] | np.ndarray,
    void_label: int,
    label_divisor: int,
    thing_area_limit: int = 100,
    stuff_area_limit: int = 1600,
    image_shape: Sequence[int] | None = None,
    pixel_confidence_threshold: float = 0.4,
    transformer_class_confidence_threshold: float = 0.7,
) -> np.ndarray:
    """Give every pixel to a mask slot, and every slot to a class.

    A slot's class is the largest of the softmax without void; it is kept where that is at least
    `transformer_class_confidence_threshold`. A pixel goes to the kept slot with the largest logit,
    where its softmax over the kept slots is above `pixel_confidence_threshold` and no other slot,
    kept or not, is larger. A thing is class * label_divisor + slot + 1; slots of one class of stuff
    are one segment. What is too small, and the rest, is void_label * label_divisor.

    Source: google-research/deeplab2, model/post_processor/max_deeplab.py (at 64bc1c1), "pixelwise".

    Args:
        mask_logits: float [slots, h, w]; resized to the image, align_corners=True.
        class_logits: float [slots, classes + 1]: things in the order of `things`, then the other
            classes ascending, void last.
        things: the classes that are things, or a truth value for every class.
        void_label: a class that is none; one below the number of classes is left out of them.
        label_divisor: the step from class to class.
        thing_area_limit, stuff_area_limit: pixels that a segment has at least.
        image_shape: (height, width); by default that of the mask logits.
        pixel_confidence_threshold, transformer_class_confidence_threshold: see above.

    Returns:
        panoptic: int64 [H, W].

    Raises:
        DataError: shapes that do not fit, NaN, or more slots than ids.
    """
    _require_logits(mask_logits, class_logits, label_divisor)
    known = thing_classes(things)
    probabilities = _softmax(class_logits)[:, :-1]
    place, sure = probabilities.argmax(1), probabilities.max(1)
    classes = np.array(class_order(known, probabilities.shape[1], void_label))[place]
    kept = np.flatnonzero(sure >= transformer_class_confidence_threshold)
    void, size_hw = void_label * label_divisor, tuple(image_shape or mask_logits.shape[1:])
    if not len(kept):
        return np.full(size_hw, void, np.int64)
    slot, confident = _slots(mask_logits, kept, size_hw, pixel_confidence_threshold)
    # Things stand first among the channels; a slot of stuff is known by its class alone.
    is_thing = place < len(known)
    ids = classes * label_divisor + np.where(is_thing, np.arange(len(classes)) + 1, 0)
    panoptic = np.where(confident, ids[slot], void)
    small = [
        number
        for number, area in zip(*np.unique(panoptic[confident], return_counts=True), strict=True)
        if area < (thing_area_limit if number % label_divisor else stuff_area_limit)
    ]
    panoptic[confident & np.isin(panoptic, small)] = void
    return panoptic


def _require_logits(masks: np.ndarray, classes: np.ndarray, divisor: int) -> None:
    if masks.ndim != 3 or classes.ndim != 2 or len(masks) != len(classes):
        raise DataError(
            "post-processing: expected mask_logits [slots, h, w] and class_logits [slots, classes],"
            f" got {list(masks.shape)} and {list(classes.shape)}"
        )
    if not (np.isfinite(masks).all() and np.isfinite(classes).all()):
        raise DataError(
            "could not check: the net's mask or class logits are NaN or infinite; look at its "
            "weights and at the image's normalisation"
        )
    if len(masks) >= divisor:
        raise DataError(
            f"post-processing: {len(masks)} mask slots, and the label_divisor {divisor} has ids "
            f"for {divisor - 1}; raise it"
        )


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis."""
    scores = np.exp(logits - logits.max(-1, keepdims=True))
    total: Any = scores.sum(-1, keepdims=True)
    return np.asarray(scores / total)


def _slots(
    logits: np.ndarray, kept: np.ndarray, size_hw: Sequence[int], threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the kept slot of every pixel, and where it is sure: int64 and bool [H, W].

    Slots are resized one by one, so that the maps of all never stand together at full size.
    """
    chosen = set(kept.tolist())
    best = np.full((size_hw[0], size_hw[1]), -np.inf, logits.dtype)
    other = best.copy()
    slot = np.zeros(best.shape, np.int64)
    for number in range(len(logits)):
        plane = resize(logits[None, number : number + 1], size_hw, True)[0, 0]
        if number in chosen:
            slot[plane > best] = number
            np.maximum(best, plane, out=best)
        else:
            np.maximum(other, plane, out=other)
    total = np.zeros_like(best)
    for number in kept.tolist():
        plane = resize(logits[None, number : number + 1], size_hw, True)[0, 0]
        total += np.exp(plane - best)
    return slot, (1 / total > threshold) & (best >= other)
