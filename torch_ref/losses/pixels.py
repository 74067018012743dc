"""What the criteria of class maps share: the loss of every pixel, and what they refuse."""

import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import UserError

IGNORE_INDEX = 255


def pixel_cross_entropy(logits: Tensor, label: Tensor, ignore_index: int) -> Tensor:
    """Return the loss of every pixel, [N, H, W], 0 where ignored.

    logits: [N, C, H, W] floating, label: [N, H, W] int64. Raises UserError if they misfit.
    """
    check_logits_and_label(logits, label)
    if list(logits.shape[2:]) != list(label.shape[1:]):
        raise UserError(
            f"logits {list(logits.shape)} and label {list(label.shape)} differ in height or "
            "width; resize the logits to the label's size"
        )
    return F.cross_entropy(logits, label, ignore_index=ignore_index, reduction="none")


def check_logits_and_label(logits: Tensor, label: Tensor) -> None:
    """Raise UserError unless logits are [N, C, h, w] floating and label [N, H, W] int64."""
    if logits.ndim != 4 or label.ndim != 3 or logits.shape[0] != label.shape[0]:
        raise UserError(
            f"logits {list(logits.shape)} and label {list(label.shape)} do not belong together; "
            "expected [N, C, h, w] and [N, H, W]"
        )
    if not logits.is_floating_point():
        raise UserError(f"logits are {logits.dtype}, expected a floating dtype")
    if label.dtype != torch.int64:
        raise UserError(f"label is {label.dtype}, expected int64; cast it where it is loaded")
