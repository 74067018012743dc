"""SOLO's and SOLOv2's loss: Dice of the masks of positive cells, focal loss of all cells."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from common.errors import ConfigError, UserError
from common.instances.teach import solo_levels
from paddle_impl.losses.arrays import tensor_like
from paddle_impl.losses.parts import LossOfParts
from paddle_impl.losses.pixels import wide

GAMMA, ALPHA = 2, 0.25  # of the focal loss
EPS = 1e-3  # added to either sum of squares
Levels = Sequence[Mapping[str, Any]]


class SOLOLoss(LossOfParts):
    """Three times the mean Dice of positive cells, and the focal loss over (positives + 1).

    A positive cell counts once, also where SOLOv2 learns several masks of it. Without any the
    masks' term is 0, with zero gradients.

    Args:
        num_classes: of the net; this number is the label of background.
        mask_weight, class_weight: what the terms are multiplied by.

    Source: MMDetection 3.3.0, mmdet/models/dense_heads/solo_head.py and solov2_head.py, losses
    of configs/solo and configs/solov2. Raises ConfigError for a setting outside its range.
    """

    def __init__(
        self, num_classes: int = 80, mask_weight: float = 3.0, class_weight: float = 1.0
    ) -> None:
        super().__init__()
        if num_classes < 1 or min(mask_weight, class_weight) < 0:
            raise ConfigError("num_classes below 1, or a weight below 0; set others")
        self.num_classes = num_classes
        self.mask_weight = mask_weight
        self.class_weight = class_weight

    def parts(self, outputs: Sequence[Any], target: Any) -> dict[str, Tensor]:
        """Return the weighted terms by name: `loss_mask`, `loss_cls`, scalars.

        outputs: (masks [N, S * S, h, w], classes [N, C, S, S]) by level, logits as SOLO returns
        them in train mode; or SOLOv2's (kernels, classes, features). target: of each image what
        `common.instances.solo_targets` returned; that of one image may stand alone; or of all what
        `common.instances.teach.solo_target` did. UserError where they do not belong together.
        """
        images = solo_levels(target)
        classes = [wide(level) for level in outputs[1]]
        check_levels(classes, images, self.num_classes)
        positives = sum(int(np.asarray(level["positive"]).sum()) for one in images for level in one)
        first = wide(outputs[0][0])
        dice = [
            dice_loss(masks_at(outputs, i, n, cells_of(level)), level["masks"])
            for n, levels in enumerate(images)
            for i, level in enumerate(levels)
            if len(cells_of(level))
        ]
        masks = sum(dice, start=first.sum() * 0) / max(positives, 1)
        focal = sum(
            (self.focal(x, i, images) for i, x in enumerate(classes)), start=first.sum() * 0
        )
        return {
            "loss_mask": masks * self.mask_weight,
            "loss_cls": focal / (positives + 1) * self.class_weight,
        }

    def focal(self, logits: Tensor, i: int, images: Sequence[Levels]) -> Tensor:
        """Return the sum of the focal loss of `logits` [N, C, S, S] of level `i`."""
        labels = np.stack([np.asarray(levels[i]["labels"]) for levels in images])
        hot = labels[:, None] == np.arange(self.num_classes)[:, None, None]
        taught = tensor_like(hot, logits)
        p = F.sigmoid(logits)
        missed = p * (1 - taught) + (1 - p) * taught
        weight = ALPHA * taught + (1 - ALPHA) * (1 - taught)
        error = F.binary_cross_entropy_with_logits(logits, taught, reduction="none")
        return (error * weight * missed**GAMMA).sum()


def cells_of(level: Mapping[str, Any]) -> np.ndarray:
    """Return the cells of the masks of a level's target, int64 [P]."""
    if "cells" in level:
        return np.asarray(level["cells"], np.int64)
    return np.flatnonzero(np.asarray(level["positive"]))


def masks_at(outputs: Sequence[Any], i: int, n: int, cells: np.ndarray) -> Tensor:
    """Return the logits [P, h, w] of the masks of `cells` of level `i` of image `n`."""
    maps = wide(outputs[0][i][n])
    if len(outputs) == 2:
        return take(maps, cells)
    features = wide(outputs[2][n])
    channels, height, width = features.shape
    kernels = take(maps.reshape([channels, -1]).transpose([1, 0]), cells)
    return paddle.matmul(kernels, features.reshape([channels, -1])).reshape([-1, height, width])


def take(x: Tensor, places: np.ndarray) -> Tensor:
    """Return what is at `places` of the first axis of `x`."""
    return paddle.index_select(x, paddle.to_tensor(places), axis=0)


def dice_loss(logits: Tensor, masks: Any) -> Tensor:
    """Return the sum over `masks` [P, h, w] of 1 - Dice, of squares; UserError if they misfit."""
    if list(logits.shape) != list(np.shape(masks)):
        raise UserError(
            f"masks of the target are {list(np.shape(masks))}, expected {list(logits.shape)} of "
            "the outputs; make the targets with the image's padded size"
        )
    p = F.sigmoid(logits).flatten(1)
    taught = tensor_like(np.asarray(masks), logits).flatten(1)
    both = (p * taught).sum(1)
    eps = paddle.full_like(both, EPS)  # Paddle 2.6.2 rounds a number that is added to float32
    squares = (p * p).sum(1) + eps + (taught * taught).sum(1) + eps
    return (1 - 2 * both / squares).sum()


def check_levels(classes: Sequence[Tensor], images: Sequence[Levels], num_classes: int) -> None:
    """Raise UserError unless every image has a target of every level, of its grid."""
    for levels in images:
        grids = [list(np.shape(level["labels"])) for level in levels]
        found = [list(level.shape[2:]) for level in classes]
        if grids != found or any(level.shape[1] != num_classes for level in classes):
            raise UserError(
                f"classes of the outputs are {[list(level.shape) for level in classes]}, labels of "
                f"the target {grids}; expected the same grids, and {num_classes} classes"
            )
    if any(level.shape[0] != len(images) for level in classes):
        raise UserError(f"outputs of {classes[0].shape[0]} images, targets of {len(images)}")
