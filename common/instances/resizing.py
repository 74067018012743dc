"""The objects of an image that a net resizes: boxes and masks of the new size.

The rules are those of torchvision 0.28.0, models/detection/transform.py:64-84 and 306-319.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import UserError
from common.instances.sizes import Size, ratios

PARTS = ("boxes", "labels", "masks")
CROWD = "iscrowd"


def check_objects(target: Mapping[str, Any], what: str, size: Size, num_classes: int) -> None:
    """Raise UserError unless `target` says a net of boxes and masks all that it learns.

    Args:
        target: boxes floating [M, 4] (x0, y0, x1, y1, in pixels, with an extent), labels [M] of 1
            to num_classes - 1 (0 is background), masks [M, H, W] of 0 and 1; M may be 0. What
            else it holds is not looked at, but for `iscrowd`: a crowd is no object.
        what: whose it is, for messages.
        size: height and width of the image.
        num_classes: with background.
    """
    missing = [name for name in PARTS if name not in target]
    if missing:
        raise UserError(f"{what} has no {', '.join(missing)}; expected {', '.join(PARTS)}")
    boxes, labels, masks = (np.asarray(target[name]) for name in PARTS)
    count = len(boxes)
    if boxes.shape != (count, 4) or labels.shape != (count,) or masks.shape != (count, *size):
        raise UserError(
            f"{what}: boxes {list(boxes.shape)}, labels {list(labels.shape)} and masks "
            f"{list(masks.shape)} do not belong to an image of {list(size)}; expected [M, 4], [M] "
            "and [M, H, W]"
        )
    if boxes.dtype.kind != "f":
        raise UserError(f"{what}: boxes are {boxes.dtype}, expected a floating dtype")
    extent = (boxes[:, 2:] > boxes[:, :2]) & np.isfinite(boxes[:, :2]) & np.isfinite(boxes[:, 2:])
    flat = boxes[~extent.all(axis=1)].tolist()
    if flat:
        raise UserError(
            f"{what}: the box {flat[0]} has no extent; expected x0 < x1 and y0 < y1: leave such "
            "objects out"
        )
    if masks.size and not 0 <= masks.min() <= masks.max() <= 1:
        raise UserError(
            f"{what}: masks hold {masks.min()} to {masks.max()}; expected 0 and 1: divide masks of "
            "0 and 255 by 255"
        )
    strange = sorted({int(label) for label in labels if not 0 < label < num_classes})
    if strange:
        raise UserError(
            f"{what}: labels hold {', '.join(map(str, strange[:5]))}; expected 1 to "
            f"{num_classes - 1}, 0 is background"
        )
    if np.any(target.get(CROWD, False)):
        raise UserError(f"{what}: iscrowd marks a crowd, which is no object; leave crowds out")


def resize_boxes(boxes: np.ndarray, old: Size, new: Size) -> np.ndarray:
    """Return `boxes` [N, 4] of an image of height and width `old` in one of `new`.

    In the dtype of `boxes`; the two ratios are rounded to float32, as torchvision's are.
    """
    height, width = ratios(old, new)
    return boxes * np.array([width, height, width, height]).astype(boxes.dtype)


def resize_masks(masks: np.ndarray, new: Size) -> np.ndarray:
    """Return `masks` [N, H, W] in height and width `new`, each pixel the nearest of the old.

    Which one that is is computed in float32: of 96 pixels made of 80, the 6th is the 5th.
    """
    rows, columns = (
        np.minimum(np.floor(np.arange(n, dtype=np.float32) * ratio).astype(np.int64), o - 1)
        for n, o in zip(new, masks.shape[1:], strict=True)
        for ratio in [np.float32(o) / np.float32(n)]
    )
    return masks[:, rows[:, None], columns]
