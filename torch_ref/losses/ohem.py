"""Cross-entropy of the hard pixels: online hard example mining."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import ConfigError
from torch_ref.losses.pixels import IGNORE_INDEX, pixel_cross_entropy


class OhemCrossEntropy(nn.Module):
    """Cross-entropy, mean over the hard pixels, or over the hardest `min_kept` if those are few.

    Hard is a pixel whose true class has a probability below `threshold`; pixels of the whole batch
    compete.

    Args:
        threshold: probability, in (0, 1].
        min_kept: pixels that count at least. None: a sixteenth of the batch's pixels, which is the
            authors' 16 * 1024 * 512 // 16 = 524,288 per card.
        ignore_index: label of pixels that teach nothing.
        ignored_as_zeros: the authors sort ignored pixels among the others with a loss of 0, so
            where fewer than `min_kept` pixels are valid the mean is still taken over `min_kept`.
            False takes it over the valid ones.

    Raises ConfigError for a setting outside its range.
    Source: MichaelFan01/STDC-Seg, loss/loss.py.
    """

    def __init__(
        self,
        threshold: float = 0.7,
        min_kept: int | None = None,
        ignore_index: int = IGNORE_INDEX,
        ignored_as_zeros: bool = True,
    ) -> None:
        super().__init__()
        if not 0 < threshold <= 1:
            raise ConfigError(f"threshold is {threshold}; set a probability in (0, 1]")
        if min_kept is not None and min_kept < 1:
            raise ConfigError(f"min_kept is {min_kept}; set at least 1 pixel")
        self.threshold = threshold
        self.min_kept = min_kept
        self.ignore_index = ignore_index
        self.ignored_as_zeros = ignored_as_zeros
        # In float32, as the authors hold both the probability and its logarithm.
        self.hard_loss = float(np.float32(-math.log(np.float32(threshold))))

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return a scalar from `logits` [N, C, H, W] floating and `label` [N, H, W] int64.

        With all pixels ignored it is 0 with zero gradients. A NaN at a counted pixel makes it NaN.
        Raises UserError for other shapes and dtypes, ConfigError if `min_kept` is not below the
        number of pixels.
        """
        losses = pixel_cross_entropy(logits, label, self.ignore_index).flatten()
        kept = self.kept_pixels(label)
        # Asked this way round, a NaN is hard and is not lost.
        easy = losses <= self.hard_loss
        zeros = torch.zeros_like(losses)
        hard_count = math.prod(losses.shape) - int(easy.sum())
        hard_sum = torch.where(easy, zeros, losses).sum()
        if hard_count >= kept:
            return hard_sum / max(hard_count, 1)
        easy_losses = torch.where(easy, losses, zeros)
        return (hard_sum + torch.topk(easy_losses, kept - hard_count)[0].sum()) / kept

    def kept_pixels(self, label: Tensor) -> int:
        """Return how many pixels of `label` [N, H, W] count at least.

        Raises ConfigError where `min_kept` is not below the number of pixels.
        """
        pixels = math.prod(label.shape)
        kept = max(pixels // 16, 1) if self.min_kept is None else self.min_kept
        if kept >= pixels:
            raise ConfigError(
                f"min_kept is {kept}, and a batch {list(label.shape)} has only {pixels} pixels; "
                f"set it below that (the authors' rule, a sixteenth, gives {max(pixels // 16, 1)})"
            )
        if self.ignored_as_zeros:
            return kept
        return min(kept, int((label != self.ignore_index).sum()))
