"""Boxes (x0, y0, x1, y1) in pixels: offsets to them, overlaps, and which of them stay."""

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import paddle

from common.instances.nms import greedy
from common.instances.sizes import Size

LARGEST = math.log(1000 / 16)  # by which a side may grow, as a logarithm


def decode(deltas: paddle.Tensor, boxes: paddle.Tensor, weights: Sequence[float]) -> paddle.Tensor:
    """Return what `deltas` [N, K * 4] (x, y, width, height) make of `boxes` [N, 4]: [N, K, 4].

    weights: what the deltas were multiplied by.
    """
    deltas = deltas.reshape([boxes.shape[0], deltas.shape[1] // 4, 4])
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    centres = boxes[:, :2][:, None] + 0.5 * sides
    moved = paddle.stack([deltas[..., 0] / weights[0], deltas[..., 1] / weights[1]], axis=2)
    grown = paddle.stack([deltas[..., 2] / weights[2], deltas[..., 3] / weights[3]], axis=2)
    centres = moved * sides + centres
    halves = 0.5 * (paddle.exp(paddle.clip(grown, max=LARGEST)) * sides)
    return paddle.concat([centres - halves, centres + halves], axis=2)


def clip(boxes: paddle.Tensor, size: Size) -> paddle.Tensor:
    """Return `boxes` [..., 4] cut to an image of `size` (height, width)."""
    x = paddle.clip(boxes[..., 0::2], 0, size[1])
    y = paddle.clip(boxes[..., 1::2], 0, size[0])
    return paddle.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], axis=-1)


def large(boxes: paddle.Tensor, least: float) -> paddle.Tensor:
    """Return whether both sides of `boxes` [N, 4] are at least `least` pixels: bool [N]."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return (sides[:, 0] >= least) & (sides[:, 1] >= least)


def box_area(boxes: paddle.Tensor) -> paddle.Tensor:
    """Return width * height of `boxes` [N, 4]: [N]."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_iou(boxes: paddle.Tensor, others: paddle.Tensor) -> paddle.Tensor:
    """Return intersection over union of `boxes` [N, 4] and `others` [M, 4]: [N, M]."""
    low = paddle.maximum(boxes[:, None, :2], others[None, :, :2])
    high = paddle.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides = paddle.clip(high - low, min=0)
    shared = sides[..., 0] * sides[..., 1]
    return shared / (box_area(boxes)[:, None] + box_area(others)[None] - shared)


def descending(scores: paddle.Tensor) -> paddle.Tensor:
    """Return the order of `scores` [N] from high to low, equal ones as they stand: int64 [N]."""
    order = np.argsort(-scores.numpy(), kind="stable")  # Paddle 2.6's own keeps no order
    return paddle.to_tensor(order.astype("int64"))


def nms(boxes: paddle.Tensor, scores: paddle.Tensor, threshold: float) -> paddle.Tensor:
    """Return the places of the boxes [N, 4] that stay, by falling score: int64 [K].

    One goes if its overlap with a better one that stays is more than `threshold`.
    """
    order = descending(scores)
    if not len(boxes):  # Paddle 2.6 compares no empty tensors
        return order
    ranked = boxes[order]
    beaten = (box_iou(ranked, ranked) > threshold).numpy()
    kept = greedy(beaten)
    return order[paddle.to_tensor(kept)]


def split(x: paddle.Tensor, counts: Sequence[int]) -> list[paddle.Tensor]:
    """Return `x` [sum of counts, ...] in parts of so many rows, which may be none."""
    ends = list(accumulate(counts))
    return [x[end - count : end] for end, count in zip(ends, counts, strict=True)]


def grouped_nms(
    boxes: paddle.Tensor, scores: paddle.Tensor, groups: paddle.Tensor, threshold: float
) -> paddle.Tensor:
    """Return the places that stay, by falling score, where boxes of one group alone compete.

    groups: int64 [N], a level or a class. Boxes stay where they are: torchvision moves the groups
    apart instead, which rounds.
    """
    kept = paddle.zeros_like(groups)
    for group in sorted(set(groups.tolist())):
        places = paddle.nonzero(groups == group)[:, 0]
        kept[places[nms(boxes[places], scores[places], threshold)]] = 1
    places = paddle.nonzero(kept)[:, 0]
    return places[descending(scores[places])]
