"""What boxes are taught of the objects they stand for: how to move, and which of their pixels.

The rules are those of torchvision 0.28.0: models/detection/_utils.py:80-125 (boxes),
roi_heads.py:85-99 (masks) and csrc/ops/cpu/roi_align_common.h.
"""

from collections.abc import Sequence

import numpy as np

from common.errors import UserError


def encode_boxes(objects: np.ndarray, boxes: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Return what moves each of `boxes` [N, 4] onto its object [N, 4]: dx, dy, dw, dh, [N, 4].

    Corners are x0, y0, x1, y1; computed in the dtypes given, float32 of float32. A box or an
    object without extent gives what is not finite, as torchvision does: such objects are refused
    before. weights: four factors of the result. Raises UserError for arrays that misfit.
    """
    if objects.shape != boxes.shape or boxes.ndim != 2 or boxes.shape[1] != 4 or len(weights) != 4:
        raise UserError(
            f"objects {list(objects.shape)}, boxes {list(boxes.shape)} and {len(weights)} weights "
            "do not belong together; expected [N, 4] twice and 4"
        )
    sides, wanted = boxes[:, 2:] - boxes[:, :2], objects[:, 2:] - objects[:, :2]
    centres, aims = boxes[:, :2] + 0.5 * sides, objects[:, :2] + 0.5 * wanted
    x, y, width, height = (float(weight) for weight in weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = (aims - centres) * np.array([x, y], boxes.dtype) / sides
        growth = np.log(wanted / sides) * np.array([width, height], boxes.dtype)
    return np.concatenate([moves, growth], axis=1)


def mask_targets(
    masks: np.ndarray, boxes: np.ndarray, matches: np.ndarray, size: int
) -> np.ndarray:
    """Return the part of its object's mask that lies in each box, [P, size, size] of `boxes`.

    That is RoIAlign of scale 1, not aligned, with as many samples a cell as it has pixels, rounded
    up; values lie within 0..1 and are not rounded. Samples farther than a pixel outside are 0.

    Args:
        masks: of M objects, [M, H, W] of 0 and 1.
        boxes: floating [P, 4], x0, y0, x1, y1 in pixels.
        matches: the object of each box, [P].
        size: cells in a row.

    Raises UserError for arrays that misfit.
    """
    if masks.ndim != 3 or boxes.shape != (len(matches), 4):
        raise UserError(
            f"masks {list(masks.shape)}, boxes {list(boxes.shape)} and matches "
            f"{list(matches.shape)} do not belong together; expected [M, H, W], [P, 4] and [P]"
        )
    out = np.zeros([len(boxes), size, size], boxes.dtype)
    for place, (box, match) in enumerate(zip(boxes, matches, strict=True)):
        columns, across = cell_weights(box[0], box[2], size, masks.shape[2])
        rows, down = cell_weights(box[1], box[3], size, masks.shape[1])
        out[place] = down @ masks[int(match), rows, columns].astype(boxes.dtype) @ across.T
    return out


def cell_weights(
    start: np.floating, end: np.floating, size: int, length: int
) -> tuple[slice, np.ndarray]:
    """Return how `size` cells from `start` to `end` weigh the pixels of a line of `length`.

    The pixels that have a weight, and the weights [size, pixels], in the dtype of `start`.
    """
    kind = type(start)
    extent = max(end - start, kind(1))  # boxes thinner than a pixel count as one
    cell = extent / kind(size)
    count = int(np.ceil(cell))
    steps = (np.arange(count, dtype=kind) + kind(0.5)) * cell / kind(count)
    places = start + np.arange(size, dtype=kind)[:, None] * cell + steps  # [size, count]
    inside = (places >= -1) & (places <= length)
    places = np.clip(places, 0, length - 1)
    low = places.astype(np.int64)
    high = np.minimum(low + 1, length - 1)
    share = places - low
    first = int(low.min())
    weights = np.zeros([size, int(high.max()) + 1 - first], kind)
    cells = np.broadcast_to(np.arange(size)[:, None], low.shape)
    np.add.at(weights, (cells, low - first), np.where(inside, 1 - share, 0))
    np.add.at(weights, (cells, high - first), np.where(inside, share, 0))
    return slice(first, first + weights.shape[1]), weights / kind(count)
