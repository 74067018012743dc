"""Mask R-CNN's five losses, as torchvision computes them in train mode.

Sources: torchvision 0.28.0, models/detection/rpn.py:285-325 and roi_heads.py:12-58, 102-139.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from common.errors import UserError
from common.instances.teach import objects_by_image, sizes_of_images
from paddle_impl.losses.arrays import array_of, tensor_like
from paddle_impl.losses.parts import LossOfParts
from paddle_impl.losses.pixels import IGNORE_INDEX, at_label, log_probabilities, wide

BETA = 1 / 9  # error of an offset up to which its loss is a parabola
TERMS = ("loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg")


class RPNLoss(nn.Layer):
    """What the sampled anchors say of objects, and how their offsets miss them."""

    def forward(
        self,
        logits: Tensor,
        deltas: Tensor,
        positives: Sequence[Tensor],
        negatives: Sequence[Tensor],
        moves: Tensor,
    ) -> dict[str, Tensor]:
        """Return `loss_objectness`, a mean over the sampled, and `loss_rpn_box_reg`, over as many.

        logits: [N, A]. deltas: [N, A, 4]. positives, negatives: sampled anchors of each image,
        int64. moves: [P of all images, 4], what the positives are taught.
        """
        logits, deltas = wide(logits), wide(deltas)
        objects, others = (in_batch(part, logits.shape[1]) for part in (positives, negatives))
        places = np.concatenate([objects, others])
        count = max(len(places), 1)
        if len(places):
            taught = tensor_like(np.arange(len(places)) < len(objects), logits)
            said = take(logits.reshape([-1]), places)
            missed = F.binary_cross_entropy_with_logits(said, taught, reduction="sum")
        else:
            missed = logits.sum() * 0
        return {
            "loss_objectness": missed / count,
            "loss_rpn_box_reg": smooth_l1(deltas.reshape([-1, 4]), objects, moves) / count,
        }


class BoxLoss(nn.Layer):
    """Cross-entropy of the sampled boxes, and how the offsets of their own class miss."""

    def forward(
        self, class_logits: Tensor, box_regression: Tensor, labels: Tensor, moves: Tensor
    ) -> dict[str, Tensor]:
        """Return `loss_classifier` and `loss_box_reg`, both sums over K, divided by it.

        class_logits: [K, C]. box_regression: [K, C * 4]. labels: int64 [K], 0 is background.
        moves: [P, 4], what the P boxes that are none are taught.
        """
        logits, classes = wide(class_logits), array_of(labels)
        costs = -at_label(log_probabilities(logits), labels, IGNORE_INDEX)
        objects = np.flatnonzero(classes > 0)
        deltas = wide(box_regression).reshape([-1, 4])
        own = smooth_l1(deltas, objects * logits.shape[1] + classes[objects], moves)
        return {"loss_classifier": costs.mean(), "loss_box_reg": own / len(classes)}


class MaskLoss(nn.Layer):
    """Binary cross-entropy of the mask of a box's own class."""

    def forward(self, logits: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
        """Return the mean over all pixels, a scalar.

        logits: [P, C, M, M]. labels: int64 [P]. masks: [P, M, M] in 0..1, what they are taught.
        """
        logits, classes = wide(logits), array_of(labels)
        count, width, *size = logits.shape
        own = take(logits.reshape([-1, *size]), np.arange(count) * width + classes)
        return F.binary_cross_entropy_with_logits(own, masks.astype(own.dtype))


class MaskRCNNLoss(LossOfParts):
    """The sum of what Mask R-CNN returns in train mode, where it computes its losses itself."""

    def ask(self, net: Any, image: Tensor, target: Mapping[str, Any]) -> Any:
        """Return what `net` returns of a batch: it is shown what it is taught.

        image: [N, 3, H, W], padded. target: what `common.instances.teach.objects_target` returned,
        arrays or tensors.
        """
        sizes, targets = sizes_of_images(target), objects_by_image(target)
        images = [x[:, :height, :width] for x, (height, width) in zip(image, sizes, strict=True)]
        taught = [{name: paddle.to_tensor(value) for name, value in one.items()} for one in targets]
        return net(images, taught)

    def parts(self, outputs: Mapping[str, Tensor], label: Any = None) -> dict[str, Tensor]:
        """Return the terms by name, scalars; `label` was the net's to look at.

        Raises UserError where `outputs` are not the five losses: they are found in train mode.
        """
        if not isinstance(outputs, Mapping) or set(outputs) != set(TERMS):
            raise UserError(
                f"outputs are {told(outputs)}, expected {', '.join(TERMS)}: call the net in train "
                "mode with images and targets"
            )
        return {name: outputs[name] for name in TERMS}


def told(outputs: Any) -> str:
    """Return the names in `outputs`, or what they are."""
    return ", ".join(map(str, outputs)) if isinstance(outputs, Mapping) else type(outputs).__name__


def smooth_l1(deltas: Tensor, places: np.ndarray, moves: Tensor) -> Tensor:
    """Return the sum over `places` [P] of `deltas` [R, 4] of the smooth L1 loss to `moves` [P, 4].

    Written out, since Paddle's function of this name is Huber's. Without places 0, with gradient.
    """
    if not len(places):
        return deltas.sum() * 0
    errors = (take(deltas, places) - moves.astype(deltas.dtype)).abs()
    beyond = errors - paddle.full([], 0.5 * BETA, errors.dtype)  # 2.6 rounds a number to float32
    return paddle.where(errors < BETA, 0.5 / BETA * errors * errors, beyond).sum()


def in_batch(places: Sequence[Tensor], count: int) -> np.ndarray:
    """Return `places` int64 of each image, of `count` rows, as places in all images' rows."""
    return np.concatenate([array_of(part) + i * count for i, part in enumerate(places)])


def take(x: Tensor, places: np.ndarray) -> Tensor:
    """Return what is at `places`, at least one, of the first axis of `x`."""
    return paddle.index_select(x, paddle.to_tensor(places), axis=0)
