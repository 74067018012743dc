"""The things of a panoptic map as instances with scores, for average precision."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from common.errors import ConfigError

SCORES = ("semantic", "instance", "both")


class Instance(NamedTuple):
    """A thing for average precision: its class, how sure the net is of it, its pixels [H, W]."""

    category_id: int
    score: float
    mask: np.ndarray


def panoptic_deeplab_instances(
    panoptic: np.ndarray,
    probabilities: np.ndarray,
    center: np.ndarray,
    *,
    label_divisor: int = 1000,
    score: str = "both",
) -> Iterator[Instance]:
    """Yield the things of a panoptic map with their scores, ids ascending.

    "semantic": the mean probability of the class in the mask. "instance": the heat map at the mean
    place of the mask, cut to a pixel. "both": the product.

    Source: bowenc0221/panoptic-deeplab, segmentation/model/post_processing/evaluation_format.py
    (at cf8e20b); detectron2 has the product (panoptic_seg.py, at 02b5c4e).

    Args:
        panoptic: whole numbers [H, W]; what is negative, or of number 0, is no thing.
        probabilities: float [classes, H, W], the softmax of the semantic logits.
        center: float [1, H, W]. label_divisor: of `panoptic`. score: one of `SCORES`.

    Raises ConfigError for another `score`.
    """
    if score not in SCORES:
        raise ConfigError(f"score: expected one of {', '.join(SCORES)}, got {score!r}")
    for label in np.unique(panoptic).tolist():
        if label < 0 or label % label_divisor == 0:
            continue
        mask = panoptic == label
        sure = (
            1.0
            if score == "instance"
            else float(probabilities[label // label_divisor][mask].mean())
        )
        if score != "semantic":
            y, x = (int(place.mean()) for place in np.nonzero(mask))
            sure *= float(center[0, y, x])
        yield Instance(label // label_divisor, sure, mask)
