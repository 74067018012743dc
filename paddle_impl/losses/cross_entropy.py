"""Cross-entropy of one class map: the mean, perhaps weighted and smoothed, and FCN's sum."""

from collections.abc import Sequence

import paddle
from paddle import Tensor, nn

from common.errors import ConfigError, UserError
from paddle_impl.losses.pixels import (
    IGNORE_INDEX,
    at_label,
    check_class_map,
    check_classes,
    log_probabilities,
    pixel_cross_entropy,
    wide,
)


class CrossEntropy(nn.Layer):
    """Cross-entropy, mean over the pixels that are not ignored; 0 if all are.

    Args:
        ignore_index: label of pixels that teach nothing.
        weights: one for each class; the mean is weighted by them, as torch's cross_entropy has it.
        label_smoothing: share of a pixel's target that is spread evenly over all classes
            (Szegedy et al., arXiv 1512.00567, section 7); with weights, as torch has it.

    Raises ConfigError for a setting outside its range.
    """

    def __init__(
        self,
        ignore_index: int = IGNORE_INDEX,
        weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {label_smoothing}; set a share in [0, 1)")
        self.ignore_index = ignore_index
        self.weights = checked_weights(weights)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return a scalar from `logits` [N, C, H, W] floating and `label` [N, H, W] int64.

        With no pixel to learn from it is 0 with zero gradients. A NaN at a counted pixel makes it
        NaN. Raises UserError for other shapes and dtypes, and for weights of another number.
        """
        if self.weights is None and not self.label_smoothing:
            losses = pixel_cross_entropy(logits, label, self.ignore_index)
            counted = int((label != self.ignore_index).sum())
            return losses.sum() / max(counted, 1)
        check_class_map(logits, label)
        check_classes(label, logits.shape[1], self.ignore_index)
        logits = wide(logits)
        logs = log_probabilities(logits)
        weights = weights_like(self.weights, logits)
        losses = -at_label(logs * weights, label, self.ignore_index)
        if self.label_smoothing:
            even = -(logs * weights).mean(axis=1)
            even = paddle.where(label != self.ignore_index, even, paddle.zeros_like(even))
            losses = losses * (1 - self.label_smoothing) + even * self.label_smoothing
        total = at_label(weights + paddle.zeros_like(logits), label, self.ignore_index).sum()
        return losses.sum() / paddle.where(total > 0, total, paddle.ones_like(total))


class SummedCrossEntropy(nn.Layer):
    """Cross-entropy, summed over the pixels that are not ignored, per image: FCN's loss.

    The sum is what FCN's tiny learning rates (1e-10) belong to.
    Source: wkentaro/pytorch-fcn, torchfcn/trainer.py.
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return a scalar from `logits` [N, C, H, W] floating and `label` [N, H, W] int64.

        The sum over all images divided by N; 0 with zero gradients if all pixels are ignored.
        Raises UserError for other shapes and dtypes.
        """
        return pixel_cross_entropy(logits, label, self.ignore_index).sum() / logits.shape[0]


def checked_weights(weights: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return weights of classes; ConfigError where one is negative or no number is above 0."""
    if weights is None:
        return None
    found = tuple(float(weight) for weight in weights)
    if not all(weight >= 0 for weight in found) or not any(found):
        raise ConfigError(f"weights are {list(found)}; set one of at least 0 for each class")
    return found


def weights_like(weights: Sequence[float] | None, logits: Tensor) -> Tensor:
    """Return weights of classes as [1, C, 1, 1] of the dtype of `logits` [N, C, H, W]; None: ones.

    Raises UserError where they are not as many as the classes.
    """
    classes = logits.shape[1]
    found = [1.0] * classes if weights is None else list(weights)
    if len(found) != classes:
        raise UserError(
            f"loss.weights has {len(found)} numbers, and the net {classes} classes; give one for "
            "each class, in the order of the classes"
        )
    return paddle.to_tensor(found, dtype=logits.dtype).reshape([1, -1, 1, 1])
