"""Focal loss: cross-entropy in which pixels that are right already count little."""

from collections.abc import Sequence

import paddle
from paddle import Tensor

from common.errors import ConfigError
from paddle_impl.losses.cross_entropy import checked_weights, weights_like
from paddle_impl.losses.heads import ClassMap, HeadsLoss
from paddle_impl.losses.pixels import IGNORE_INDEX, at_label, one_hot


class FocalLoss(HeadsLoss):
    """-alpha (1 - p)^gamma log p of the true class, mean over the pixels that are not ignored.

    Args:
        gamma: 2 is the paper's; 0 is cross-entropy.
        alpha: None: 1. One number: of a net with one channel it is class 1's, and 1 - alpha
            class 0's, as in the paper; of one with more channels a factor of all.
        weights: of each class, in place of alpha.
        aux_weight, ignore_index, maps: see `HeadsLoss`.

    p is of the softmax over the classes. The mean is over pixels, whatever their weights. 1 - p is
    the sum of the other classes' probabilities, so that nothing is lost where p is nearly 1.
    Source: Lin et al., arXiv 1708.02002, equation 5.
    Raises ConfigError for a setting outside its range.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = None,
        weights: Sequence[float] | None = None,
        aux_weight: float = 0.4,
        ignore_index: int = IGNORE_INDEX,
        maps: int | None = None,
    ) -> None:
        super().__init__(aux_weight, ignore_index, maps)
        if not gamma >= 0:
            raise ConfigError(f"gamma is {gamma}; set 0 or more")
        if alpha is not None and not 0 < alpha < 1:
            raise ConfigError(f"alpha is {alpha}; set a number between 0 and 1, or weights")
        if alpha is not None and weights is not None:
            raise ConfigError("alpha and weights are both set: weights stand in place of alpha")
        self.gamma = gamma
        self.alpha = alpha
        self.weights = checked_weights(weights)

    def terms(self, one: ClassMap) -> dict[str, Tensor]:
        """Return `focal` of a map; 0 with zero gradients if all pixels are ignored."""
        logs, label, _ = one
        true = one_hot(label, logs.shape[1], self.ignore_index)
        nothing = paddle.full_like(logs, float("-inf"))
        others = paddle.logsumexp(paddle.where(true, nothing, logs), axis=1)
        focus = paddle.exp(others * self.gamma)
        losses = -at_label(logs * self.factors(one), label, self.ignore_index) * focus
        counted = label != self.ignore_index
        losses = paddle.where(counted, losses, paddle.zeros_like(losses))
        return {"focal": losses.sum() / max(int(counted.sum()), 1)}

    def factors(self, one: ClassMap) -> Tensor:
        """Return what each class counts, [1, C, 1, 1]."""
        if self.alpha is None:
            return weights_like(self.weights, one.logs)
        low = 1 - self.alpha if one.first else self.alpha
        classes = one.logs.shape[1]
        return weights_like([low, *[self.alpha] * (classes - 1)], one.logs)
