"""What SOLO and SOLOv2 learn of an image: a class for every cell, a mask for every positive one.

The rules are those of MMDetection 3.3.0, mmdet/models/dense_heads/solo_head.py:322-450 and
solov2_head.py.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from common.errors import UserError

REACH = 0.2  # share of a box, about the centre of its mask, whose cells are positive


class SoloObject(NamedTuple):
    """An object of the image: mask [H, W] of 0 and 1, and the half of its box that teaches."""

    mask: np.ndarray
    label: int
    half_height: np.floating
    half_width: np.floating


def solo_targets(
    masks: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    *,
    num_grids: Sequence[int],
    scale_ranges: Sequence[tuple[float, float]],
    strides: Sequence[int],
    num_classes: int,
    mask_stride: int | None = None,
) -> list[dict[str, np.ndarray]]:
    """Return the targets of each level of the pyramid.

    A level: "labels" int64 [S, S], `num_classes` where no object is; "positive" bool [S * S];
    "masks" uint8 [P, h, w] and "cells" int64 [P], the cell of each, row after row.

    Args:
        masks: [N, H, W] of 0 and 1, of the padded image.
        boxes: [N, 4], x1, y1, x2, y2 in pixels.
        labels: [N], 0 to num_classes - 1.
        num_grids, scale_ranges, strides: of each level. An object is learnt where the root of its
            box's area is within the range, both ends included.
        mask_stride: None: SOLO, whose masks have half of their level's stride and of whose
            objects the later take a cell from the earlier. A number: SOLOv2, whose masks all have
            it, and where a cell learns the mask of every one of its objects, in their order.

    Raises UserError for arrays or lists that do not belong together.
    """
    masks, boxes, labels = np.asarray(masks), np.asarray(boxes), np.asarray(labels)
    boxes = boxes if boxes.dtype == np.float64 else boxes.astype(np.float32)
    check_objects(masks, boxes, labels, num_classes)
    if not len(num_grids) == len(scale_ranges) == len(strides):
        raise UserError(
            f"num_grids, scale_ranges and strides are of {len(num_grids)}, {len(scale_ranges)} "
            f"and {len(strides)} levels; give as many of each"
        )
    sizes = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    levels = []
    for grid, (least, most), stride in zip(num_grids, scale_ranges, strides, strict=True):
        chosen = np.flatnonzero((sizes >= least) & (sizes <= most))
        things = [thing_of(masks[i], boxes[i], int(labels[i])) for i in chosen if masks[i].any()]
        step = stride / 2 if mask_stride is None else float(mask_stride)
        level = level_targets(things, masks.shape[1:], grid, step, num_classes)
        levels.append(level if mask_stride else only_the_last(level))
    return levels


def check_objects(
    masks: np.ndarray, boxes: np.ndarray, labels: np.ndarray, num_classes: int
) -> None:
    """Raise UserError unless there is a mask, a box and a known label of each object."""
    count = len(masks)
    if masks.ndim != 3 or boxes.shape != (count, 4) or labels.shape != (count,):
        raise UserError(
            f"masks {list(masks.shape)}, boxes {list(boxes.shape)} and labels "
            f"{list(labels.shape)} do not belong together; expected [N, H, W], [N, 4] and [N]"
        )
    strange = sorted({int(label) for label in labels if not 0 <= label < num_classes})
    if strange:
        raise UserError(
            f"labels hold {', '.join(map(str, strange[:5]))}; expected 0..{num_classes - 1}"
        )


def thing_of(mask: np.ndarray, box: np.ndarray, label: int) -> SoloObject:
    """Return an object as `level_targets` takes it."""
    kind = box.dtype.type
    width, height = (kind(0.5) * (box[i + 2] - box[i]) * kind(REACH) for i in (0, 1))
    return SoloObject((mask != 0).astype(np.uint8), label, height, width)


def level_targets(
    things: Sequence[SoloObject], size: Sequence[int], grid: int, step: float, num_classes: int
) -> dict[str, np.ndarray]:
    """Return the targets of a level: every mask of every cell, in the order of `things`.

    size: of the image. step: pixels of the image in one of the masks.
    """
    labels = np.full([grid, grid], num_classes, np.int64)
    padded = [-(-length // 8) * 8 for length in size]  # four times the first level's masks
    out = [-(-length // int(2 * step)) * 2 for length in size]
    held, cells = [], []
    for thing in things:
        rows, columns = cells_of(thing, padded, grid)
        labels[rows, columns] = thing.label
        small = np.zeros(out, np.uint8)
        shrunk = shrink(thing.mask, step)[: out[0], : out[1]]
        small[: shrunk.shape[0], : shrunk.shape[1]] = shrunk
        for row in range(rows.start, rows.stop):
            for column in range(columns.start, columns.stop):
                held.append(small)
                cells.append(row * grid + column)
    positive = np.zeros(grid * grid, bool)
    positive[cells] = True
    masks = np.stack(held) if held else np.zeros([0, *out], np.uint8)
    return {
        "labels": labels,
        "positive": positive,
        "masks": masks,
        "cells": np.array(cells, np.int64),
    }


def only_the_last(level: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return `level` with one mask a cell, the last of its objects, in the order of the cells."""
    last = {int(cell): place for place, cell in enumerate(level["cells"])}
    cells = np.array(sorted(last), np.int64)
    places = np.array([last[cell] for cell in cells.tolist()], np.int64)
    return {**level, "masks": level["masks"][places], "cells": cells}


def cells_of(thing: SoloObject, size: Sequence[int], grid: int) -> tuple[slice, slice]:
    """Return the rows and the columns of the positive cells of `thing`.

    Those that a part of its box about the centre of mass touches, at most one beside the centre's.
    """
    middle = [np.float32(place.sum()) / np.float32(len(place)) for place in thing.mask.nonzero()]
    halves = (thing.half_height, thing.half_width)
    found = []
    for centre, half, length in zip(middle, halves, size, strict=True):
        own = cell_of(centre, length, grid)
        first = max(0, cell_of(centre - half, length, grid), own - 1)
        last = min(grid - 1, cell_of(centre + half, length, grid), own + 1)
        found.append(slice(first, last + 1))
    return found[0], found[1]


def cell_of(place: np.floating, length: int, grid: int) -> int:
    """Return the cell of a place in a line of `length` pixels, cut towards 0.

    In the dtype of `place`, the authors' float32: it decides on which side of a border one is.
    """
    kind = type(place)
    return int(place / kind(length) / kind(1.0 / grid))


def shrink(mask: np.ndarray, step: float) -> np.ndarray:
    """Return `mask` uint8 [H, W] of 0 and 1 resized as OpenCV does bytes, `step` times smaller."""
    height, width = (int(length * (1.0 / step) + 0.5) for length in mask.shape)
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR))
