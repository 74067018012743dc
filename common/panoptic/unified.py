"""What UPSNet's panoptic head decides around its logits: windows, pruning, targets, the map.

UPSNet: A Unified Panoptic Segmentation Network, Xiong et al., CVPR 2019, sections 3.3 and 3.4.
Channels of its logits: classes of stuff in rising order, instances in the order given, unknown.
"""

from collections.abc import Collection, Sequence

import cv2
import numpy as np

from common.errors import ConfigError, DataError
from common.panoptic.segments import thing_classes

IGNORED = 255  # pixels of a target that teach nothing


def stuff_classes(num_classes: int, things: Collection[int]) -> list[int]:
    """Return the classes that are no things, rising: the first channels of the logits.

    Raises ConfigError where a thing is no class, or there is no thing.
    """
    known = set(things)
    if not known or not known <= set(range(num_classes)):
        raise ConfigError(
            f"things are {sorted(known)}; name at least one of the classes 0 to {num_classes - 1}"
        )
    return [k for k in range(num_classes) if k not in known]


def box_window(box: Sequence[float], stride: int) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right of `box` (x0, y0, x1, y1 in pixels) on a map of `stride`.

    Corners are cut to whole cells, and the last one is inside: no window is empty.
    """
    left, top, right, bottom = (int(corner / stride) for corner in box)
    return top, left, max(bottom, top) + 1, max(right, left) + 1


def shared_window(
    window: tuple[int, int, int, int], size: Sequence[int]
) -> tuple[slice, slice, slice, slice]:
    """Return rows and columns of a map of `size` in `window`, and those of the window on the map.

    Slices are empty where the window lies outside.
    """
    top, left, bottom, right = window
    y0, y1 = max(top, 0), max(min(bottom, size[0]), 0)
    x0, x1 = max(left, 0), max(min(right, size[1]), 0)
    y1, x1 = max(y0, y1), max(x0, x1)
    return slice(y0, y1), slice(x0, x1), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)


def prune_instances(
    scores: np.ndarray,
    labels: np.ndarray,
    mask_logits: np.ndarray,
    boxes: np.ndarray,
    image_size: tuple[int, int],
    *,
    score_threshold: float = 0.6,
    overlap: float = 0.3,
) -> np.ndarray:
    """Return which instances go into the panoptic head, int64 [K], best first.

    Those of at least `score_threshold` are laid on one canvas a class, best first, of equal ones
    the first; one is left out where more than `overlap` of its pixels (logit above 0) are taken,
    or where it has none.

    Args:
        scores: [N]. labels: [N], classes. mask_logits: [N, m, m]. boxes: [N, 4], pixels of the
            image, x0, y0, x1, y1, after the NMS over all classes (IoU 0.5).
        image_size: height and width.

    Raises DataError where lengths differ.
    """
    _require_lengths(scores=scores, labels=labels, mask_logits=mask_logits, boxes=boxes)
    taken: dict[int, np.ndarray] = {}
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if scores[i] < score_threshold:
            break
        canvas = taken.setdefault(int(labels[i]), np.zeros(image_size, bool))
        window = box_window(boxes[i], 1)
        rows, columns, inner_rows, inner_columns = shared_window(window, image_size)
        width, height = window[3] - window[1], window[2] - window[0]
        mask = cv2.resize(mask_logits[i].astype(np.float64), (width, height)) > 0
        mask = mask[inner_rows, inner_columns]
        area = int(mask.sum())
        if area and (mask & canvas[rows, columns]).sum() <= overlap * area:
            canvas[rows, columns] |= mask
            kept.append(i)
    return np.array(kept, np.int64)


def unified_target(
    semantic: np.ndarray,
    masks: np.ndarray,
    kept: Sequence[int],
    *,
    num_classes: int,
    things: Collection[int],
    unknown: bool = True,
) -> np.ndarray:
    """Return the channel of every pixel, int64 [h, w]; `IGNORED` where nothing is to be learnt.

    Args:
        semantic: classes [h, w], `IGNORED` for void. masks: [N, h, w], of the objects.
        kept: objects that the head is given, in its order. Training leaves 30 % out, so that
            their pixels teach the unknown channel.
        unknown: the head has that channel; without it, pixels of other things are ignored.
    """
    stuff = stuff_classes(num_classes, things)
    channels = np.full(IGNORED + 1, IGNORED, np.int64)
    channels[stuff] = np.arange(len(stuff))
    left_over = len(stuff) + len(kept) if unknown else IGNORED
    channels[sorted(things)] = left_over
    target: np.ndarray = channels[semantic]
    for number, i in enumerate(kept):
        target[masks[i] != 0] = len(stuff) + number
    return target


def unified_panoptic(
    logits: np.ndarray,
    semantic: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    things: Collection[int],
    label_divisor: int = 1000,
    stuff_area: int = 2048,
    void_label: int = -1,
) -> np.ndarray:
    """Return the panoptic map int64 [H, W] of the head's logits [stuff + N + 1, H, W].

    The class of an instance is its box's, unless more than half of its pixels are of one other
    class of things in `semantic` [H, W]. Stuff smaller than `stuff_area` pixels, and what is
    unknown, is void.

    labels: class of each instance [N]. Raises DataError where channels and instances misfit.
    """
    stuff = stuff_classes(num_classes, things)
    if logits.ndim != 3 or len(logits) != len(stuff) + len(labels) + 1:
        raise DataError(
            f"logits of {len(stuff)} classes of stuff, {len(labels)} instances and the unknown "
            f"have {len(stuff) + len(labels) + 1} channels [C, H, W], got {list(logits.shape)}"
        )
    channel = logits.argmax(0)
    panoptic = np.full(channel.shape, void_label, np.int64)
    for number, k in enumerate(stuff):
        inside = channel == number
        if inside.sum() >= stuff_area:
            panoptic[inside] = k * label_divisor
    is_thing = thing_classes(things)
    seen: dict[int, int] = {}
    for number, label in enumerate(labels):
        inside = channel == len(stuff) + number
        if inside.any():
            k = _class_of(int(label), semantic[inside], is_thing)
            seen[k] = seen.get(k, 0) + 1
            panoptic[inside] = k * label_divisor + seen[k]
    return panoptic


def _class_of(label: int, semantic: np.ndarray, things: Collection[int] | np.ndarray) -> int:
    counts = np.bincount(semantic.astype(np.int64))
    most = int(counts.argmax())
    others = most != label and most in things and 2 * counts[most] > len(semantic)
    return most if others else label


def _require_lengths(**arrays: np.ndarray) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"instances have one entry each, got {lengths}")
