"""Which boxes a step learns from: so many of an image, a part of them objects.

What is drawn is a function of (seed, purpose, step, image) alone, so that two nets in two
frameworks that hold the same boxes choose the same ones, and a run that was resumed as well.
"""

from typing import NamedTuple

import numpy as np

from common.errors import ConfigError, UserError
from common.randomness import generator


class Sampled(NamedTuple):
    """The indices of what was drawn, int64, each ascending."""

    positives: np.ndarray
    negatives: np.ndarray


def sample(
    labels: np.ndarray, *, count: int, positive_fraction: float, rng: np.random.Generator
) -> Sampled:
    """Draw at most `count` boxes of `labels` [N]: 1 and above objects, 0 background, -1 neither.

    Objects come first, at most int(count * positive_fraction) of them; what is left of `count` is
    filled with background. Where there are no more candidates than that, all are taken and nothing
    depends on `rng`. (torchvision 0.28.0, models/detection/_utils.py:35-75)

    Raises ConfigError for a count below 1 or a fraction outside 0..1, UserError for other ranks.
    """
    if count < 1 or not 0 <= positive_fraction <= 1:
        raise ConfigError(
            f"samples of an image: count {count}, positive fraction {positive_fraction}; set a "
            "count of at least 1 and a fraction within 0..1"
        )
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise UserError(f"labels of boxes are {list(labels.shape)}, expected [N]")
    positives, negatives = np.flatnonzero(labels >= 1), np.flatnonzero(labels == 0)
    wanted = min(len(positives), int(count * positive_fraction))
    first = drawn(positives, wanted, rng)
    return Sampled(first, drawn(negatives, min(len(negatives), count - wanted), rng))


def drawn(candidates: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` of `candidates` [N], each as likely as any other, ascending int64."""
    order = np.argsort(rng.random(len(candidates)), kind="stable")
    return np.sort(candidates[order[:count]]).astype(np.int64)


def samples_of_images(
    labels: list[np.ndarray],
    *,
    count: int,
    positive_fraction: float,
    seed: int,
    purpose: str,
    step: int,
) -> list[Sampled]:
    """Draw of each image of a batch, each with random numbers of its own.

    purpose: what is sampled ("rpn", "roi"), which shares no number with another. step: how many
    batches came before. Raises as `sample` and `common.randomness.generator` do.
    """
    return [
        sample(
            one,
            count=count,
            positive_fraction=positive_fraction,
            rng=generator(seed, f"sample {purpose}", step, image),
        )
        for image, one in enumerate(labels)
    ]
