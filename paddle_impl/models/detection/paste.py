"""Masks of boxes, put where the boxes are in the image."""

import paddle
import paddle.nn.functional as F

from common.instances.sizes import Size
from paddle_impl.layers import resize_bilinear


def paste_masks(masks: paddle.Tensor, boxes: paddle.Tensor, size: Size) -> paddle.Tensor:
    """Return `masks` [N, 1, M, M] in images of `size` (height, width): [N, 1, height, width].

    Masks and boxes [N, 4] are grown by a cell on each side; the boxes' corners lose what is behind
    the point. Values stay probabilities, 0 outside of the box.
    """
    if not len(masks):  # Paddle 2.6 computes with no empty tensor
        return paddle.zeros([0, 1, *size], dtype=masks.dtype)
    cells = masks.shape[2]
    masks = F.pad(masks, [1, 1, 1, 1])
    centres, halves = (boxes[:, 2:] + boxes[:, :2]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * 0.5
    halves = halves * ((cells + 2) / cells)
    corners = paddle.concat([centres - halves, centres + halves], axis=1).astype("int64").tolist()
    pasted = [paste(masks[i : i + 1], box, size) for i, box in enumerate(corners)]
    return paddle.concat(pasted)


def paste(mask: paddle.Tensor, box: list[int], size: Size) -> paddle.Tensor:
    """Return `mask` [1, 1, m, m] resized to `box` in an image of zeros: [1, 1, height, width]."""
    left, top, right, bottom = box[0], box[1], box[2] + 1, box[3] + 1
    mask = resize_bilinear(mask, [max(bottom - top, 1), max(right - left, 1)])
    x0, x1 = max(left, 0), min(right, size[1])
    y0, y1 = max(top, 0), min(bottom, size[0])
    if x0 >= x1 or y0 >= y1:  # beside the image
        return paddle.zeros([1, 1, *size], dtype=mask.dtype)
    mask = mask[:, :, y0 - top : y1 - top, x0 - left : x1 - left]
    return F.pad(mask, [x0, size[1] - x1, y0, size[0] - y1])
