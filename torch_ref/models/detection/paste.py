"""Masks of boxes, put where the boxes are in the image."""

import torch
import torch.nn.functional as F

from common.instances.sizes import Size
from torch_ref.layers import resize_bilinear


def paste_masks(masks: torch.Tensor, boxes: torch.Tensor, size: Size) -> torch.Tensor:
    """Return `masks` [N, 1, M, M] in images of `size` (height, width): [N, 1, height, width].

    Masks and boxes [N, 4] are grown by a cell on each side; the boxes' corners lose what is behind
    the point. Values stay probabilities, 0 outside of the box.
    """
    if not len(masks):
        return masks.new_zeros([0, 1, *size])
    cells = masks.shape[2]
    masks = F.pad(masks, [1, 1, 1, 1])
    centres, halves = (boxes[:, 2:] + boxes[:, :2]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * 0.5
    halves = halves * ((cells + 2) / cells)
    corners = torch.cat([centres - halves, centres + halves], dim=1).to(torch.int64).tolist()
    pasted = [paste(masks[i : i + 1], box, size) for i, box in enumerate(corners)]
    return torch.cat(pasted)


def paste(mask: torch.Tensor, box: list[int], size: Size) -> torch.Tensor:
    """Return `mask` [1, 1, m, m] resized to `box` in an image of zeros: [1, 1, height, width]."""
    left, top, right, bottom = box[0], box[1], box[2] + 1, box[3] + 1
    mask = resize_bilinear(mask, [max(bottom - top, 1), max(right - left, 1)])
    x0, x1 = max(left, 0), min(right, size[1])
    y0, y1 = max(top, 0), min(bottom, size[0])
    if x0 >= x1 or y0 >= y1:  # beside the image
        return mask.new_zeros([1, 1, *size])
    mask = mask[:, :, y0 - top : y1 - top, x0 - left : x1 - left]
    return F.pad(mask, [x0, size[1] - x1, y0, size[0] - y1])
