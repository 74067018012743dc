"""Boxes (x0, y0, x1, y1) in pixels: offsets to them, overlaps, and which of them stay."""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch

from common.instances.nms import greedy
from common.instances.sizes import Size

LARGEST = math.log(1000 / 16)  # by which a side may grow, as a logarithm


def decode(deltas: torch.Tensor, boxes: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Return what `deltas` [N, K * 4] (x, y, width, height) make of `boxes` [N, 4]: [N, K, 4].

    weights: what the deltas were multiplied by.
    """
    deltas = deltas.reshape([boxes.shape[0], deltas.shape[1] // 4, 4])
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    centres = boxes[:, :2][:, None] + 0.5 * sides
    moved = torch.stack([deltas[..., 0] / weights[0], deltas[..., 1] / weights[1]], dim=2)
    grown = torch.stack([deltas[..., 2] / weights[2], deltas[..., 3] / weights[3]], dim=2)
    centres = moved * sides + centres
    halves = 0.5 * (torch.exp(torch.clamp(grown, max=LARGEST)) * sides)
    return torch.cat([centres - halves, centres + halves], dim=2)


def clip(boxes: torch.Tensor, size: Size) -> torch.Tensor:
    """Return `boxes` [..., 4] cut to an image of `size` (height, width)."""
    x = torch.clamp(boxes[..., 0::2], 0, size[1])
    y = torch.clamp(boxes[..., 1::2], 0, size[0])
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)


def large(boxes: torch.Tensor, least: float) -> torch.Tensor:
    """Return whether both sides of `boxes` [N, 4] are at least `least` pixels: bool [N]."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return (sides[:, 0] >= least) & (sides[:, 1] >= least)


def box_area(boxes: torch.Tensor) -> torch.Tensor:
    """Return width * height of `boxes` [N, 4]: [N]."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_iou(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return intersection over union of `boxes` [N, 4] and `others` [M, 4]: [N, M]."""
    low = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides = torch.clamp(high - low, min=0)
    shared = sides[..., 0] * sides[..., 1]
    return shared / (box_area(boxes)[:, None] + box_area(others)[None] - shared)


def descending(scores: torch.Tensor) -> torch.Tensor:
    """Return the order of `scores` [N] from high to low, equal ones as they stand: int64 [N]."""
    return torch.sort(scores, descending=True, stable=True)[1]


def nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return the places of the boxes [N, 4] that stay, by falling score: int64 [K].

    One goes if its overlap with a better one that stays is more than `threshold`.
    """
    order = descending(scores)
    ranked = boxes[order]
    beaten = (box_iou(ranked, ranked) > threshold).cpu().numpy()
    kept = greedy(beaten)
    return order[torch.from_numpy(kept).to(order.device)]


def split(x: torch.Tensor, counts: Sequence[int]) -> list[torch.Tensor]:
    """Return `x` [sum of counts, ...] in parts of so many rows, which may be none."""
    ends = list(accumulate(counts))
    return [x[end - count : end] for end, count in zip(ends, counts, strict=True)]


def grouped_nms(
    boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Return the places that stay, by falling score, where boxes of one group alone compete.

    groups: int64 [N], a level or a class. Boxes stay where they are: torchvision moves the groups
    apart instead, which rounds.
    """
    kept = torch.zeros_like(groups)
    for group in sorted(set(groups.tolist())):
        places = torch.nonzero(groups == group)[:, 0]
        kept[places[nms(boxes[places], scores[places], threshold)]] = 1
    places = torch.nonzero(kept)[:, 0]
    return places[descending(scores[places])]
