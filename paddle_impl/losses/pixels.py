"""What the criteria of class maps share: the loss of every pixel, and what they refuse."""

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from common.errors import UserError

IGNORE_INDEX = 255
# Paddle's softmax on CPUs takes no logit to be further than 64 below the highest, so that no pixel
# of its cross-entropy costs more than that; its gradients are right.
CAP = 63.0


def pixel_cross_entropy(logits: Tensor, label: Tensor, ignore_index: int) -> Tensor:
    """Return the loss of every pixel, [N, H, W], 0 where ignored.

    logits: [N, C, H, W] floating, label: [N, H, W] int64. Raises UserError if they misfit.
    """
    check_class_map(logits, label)
    losses = F.cross_entropy(logits, label, axis=1, ignore_index=ignore_index, reduction="none")
    if float(losses.max()) < CAP:
        return losses
    return -at_label(log_probabilities(logits), label, ignore_index)


def log_probabilities(logits: Tensor) -> Tensor:
    """Return the logarithms of the softmax over the classes of `logits` [N, C, H, W]."""
    return logits - paddle.logsumexp(logits, axis=1, keepdim=True)


def wide(logits: Tensor) -> Tensor:
    """Return logits of half precision as float32, in which counts of pixels do not overflow."""
    half = logits.dtype in (paddle.float16, paddle.bfloat16)
    return logits.astype("float32") if half else logits


def at_label(values: Tensor, label: Tensor, ignore_index: int) -> Tensor:
    """Return of `values` [N, C, H, W] the ones at the classes of `label`: [N, H, W].

    Where the label is ignored it is 0, whatever stands there.
    """
    counted = label != ignore_index
    classes = paddle.where(counted, label, paddle.zeros_like(label)).unsqueeze(1)
    found = paddle.take_along_axis(values, classes, 1).squeeze(1)
    return paddle.where(counted, found, paddle.zeros_like(found))


def one_hot(label: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Return `label` [N, H, W] int64 as [N, classes, H, W] bool; an ignored pixel is in none."""
    ids = paddle.arange(classes).reshape([1, -1, 1, 1])
    counted = (label != ignore_index).unsqueeze(1)
    return (label.unsqueeze(1) == ids) & counted


def check_class_map(logits: Tensor, label: Tensor) -> None:
    """Raise UserError unless logits are [N, C, H, W] floating and label [N, H, W] int64."""
    check_logits_and_label(logits, label)
    if list(logits.shape[2:]) != list(label.shape[1:]):
        raise UserError(
            f"logits {list(logits.shape)} and label {list(label.shape)} differ in height or "
            "width; resize the logits to the label's size"
        )


def check_classes(label: Tensor, classes: int, ignore_index: int) -> None:
    """Raise UserError where `label` [N, H, W] holds what is neither a class nor ignored."""
    strange = (label != ignore_index) & ((label < 0) | (label >= classes))
    if bool(strange.any()):
        values = sorted(set(label[strange].flatten().tolist()))
        raise UserError(
            f"label holds {', '.join(map(str, values[:5]))}; expected classes 0..{classes - 1} "
            f"and {ignore_index} for pixels that do not count"
        )


def check_logits_and_label(logits: Tensor, label: Tensor) -> None:
    """Raise UserError unless logits are [N, C, h, w] floating and label [N, H, W] int64."""
    if logits.ndim != 4 or label.ndim != 3 or logits.shape[0] != label.shape[0]:
        raise UserError(
            f"logits {list(logits.shape)} and label {list(label.shape)} do not belong together; "
            "expected [N, C, h, w] and [N, H, W]"
        )
    if not paddle.is_floating_point(logits):
        raise UserError(f"logits are {logits.dtype}, expected a floating dtype")
    if label.dtype != paddle.int64:
        raise UserError(f"label is {label.dtype}, expected int64; cast it where it is loaded")
