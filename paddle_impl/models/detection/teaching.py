"""What Mask R-CNN learns from in train mode: which boxes, and what each of them is taught.

Overlaps are computed here; what is chosen by them is chosen by `common.instances`, from arrays.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import paddle
from paddle import nn

from common.instances.matching import labels_of, match
from common.instances.sampling import samples_of_images
from common.instances.targets import encode_boxes, mask_targets
from paddle_impl.layers import concat
from paddle_impl.losses.arrays import array_of, tensor_like
from paddle_impl.losses.detection.mask_rcnn import BoxLoss, MaskLoss, RPNLoss
from paddle_impl.models.detection.boxes import box_iou

Objects = Mapping[
    str, paddle.Tensor
]  # of an image: boxes [M, 4], labels int64 [M], masks [M, H, W]


class Matcher(nn.Layer):
    """The discrete step: which object each box stands for; see `common.instances.matching`.

    Args:
        high, low: overlaps from which a box is an object, and below which it is background.
        best_of_each_object: the boxes that overlap an object most are never background.
    """

    def __init__(self, high: float, low: float, best_of_each_object: bool) -> None:
        super().__init__()
        self.high = high
        self.low = low
        self.best_of_each_object = best_of_each_object

    def forward(self, boxes: paddle.Tensor, objects: paddle.Tensor) -> paddle.Tensor:
        """Return the object of each of `boxes` [N, 4] among `objects` [M, 4]: int64 [N].

        -1 is background, -2 what nothing is learnt from.
        """
        overlaps = np.zeros([0, len(boxes)])
        if len(objects):
            overlaps = array_of(box_iou(objects, boxes))
        settings = {"best_of_each_object": self.best_of_each_object}
        return indices(match(overlaps, high=self.high, low=self.low, **settings), boxes)


class Sampler(nn.Layer):
    """The discrete step: which boxes are learnt from; see `common.instances.sampling`.

    Args:
        count: boxes of an image.
        positive_fraction: the share of objects among them, at most.
        purpose: a name, of which no other sampler of the net has the same.

    Attributes:
        seed, step: what is drawn is a function of them alone; every batch is a step.
    """

    def __init__(self, count: int, positive_fraction: float, purpose: str) -> None:
        super().__init__()
        self.count = count
        self.positive_fraction = positive_fraction
        self.purpose = purpose
        self.seed = 0
        self.step = 0

    def seed_samples(self, seed: int) -> None:
        """Begin the draws of `seed`."""
        self.seed = seed
        self.step = 0

    def forward(
        self, labels: Sequence[paddle.Tensor]
    ) -> tuple[list[paddle.Tensor], list[paddle.Tensor]]:
        """Return the boxes drawn of each image: objects int64 [P], and background int64 [Q].

        labels: int64 [N] of each image: 1 and above objects, 0 background, -1 neither.
        """
        drawn = samples_of_images(
            [array_of(one) for one in labels],
            count=self.count,
            positive_fraction=self.positive_fraction,
            seed=self.seed,
            purpose=self.purpose,
            step=self.step,
        )
        self.step += 1
        found = [(indices(p, labels[0]), indices(n, labels[0])) for p, n in drawn]
        return [positives for positives, _ in found], [negatives for _, negatives in found]


class BoxTargets(nn.Layer):
    """What the offsets of boxes are taught. weights: four factors of what moves a box."""

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.weights = tuple(weights)

    def forward(self, boxes: paddle.Tensor, objects: paddle.Tensor) -> paddle.Tensor:
        """Return what moves each of `boxes` [P, 4] onto its object [P, 4]: [P, 4]."""
        moves = encode_boxes(array_of(objects), array_of(boxes), self.weights)
        return tensor_like(moves, boxes)


class MaskTargets(nn.Layer):
    """What the masks of boxes are taught. size: of their sides."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(
        self, boxes: paddle.Tensor, masks: paddle.Tensor, matches: paddle.Tensor
    ) -> paddle.Tensor:
        """Return what lies in each of `boxes` [P, 4] of its object's mask: [P, size, size].

        masks: of the image's objects [M, H, W], 0 and 1. matches: int64 [P], which is whose.
        """
        parts = mask_targets(array_of(masks), array_of(boxes), array_of(matches), self.size)
        return tensor_like(parts, boxes)


class RPNTeaching(nn.Layer):
    """What the region proposals are taught, and their losses."""

    def __init__(self, matcher: Matcher, sampler: Sampler, box_targets: BoxTargets) -> None:
        super().__init__()
        self.matcher = matcher
        self.sampler = sampler
        self.box_targets = box_targets
        self.loss = RPNLoss()

    def forward(
        self,
        logits: paddle.Tensor,
        deltas: paddle.Tensor,
        anchors: paddle.Tensor,
        objects: Sequence[Objects],
    ) -> dict[str, paddle.Tensor]:
        """Return `loss_objectness` and `loss_rpn_box_reg`.

        logits: [N, A]. deltas: [N, A, 4]. anchors: [A, 4]. objects: of each image, in pixels of
        the batch.
        """
        matches = [self.matcher(anchors, one["boxes"]) for one in objects]
        labels = [indices(labels_of(array_of(one)), one) for one in matches]
        positives, negatives = self.sampler(labels)
        chosen = concat([anchors[places] for places in positives])
        own = [
            one["boxes"][found[places]]
            for one, found, places in zip(objects, matches, positives, strict=True)
        ]
        moves = self.box_targets(chosen, concat(own))
        return self.loss(logits, deltas, positives, negatives, moves)


class Chosen(NamedTuple):
    """What the second stage learns from, of each image: boxes [K, 4], labels, objects' places [K].

    Labels are int64, 0 for background, whose place is 0.
    """

    boxes: list[paddle.Tensor]
    labels: list[paddle.Tensor]
    matches: list[paddle.Tensor]

    def objects(self) -> "Chosen":
        """Return those of them that are no background."""
        rows = [indices(np.flatnonzero(array_of(one)), one) for one in self.labels]
        return Chosen(*([x[row] for x, row in zip(part, rows, strict=True)] for part in self))


class BoxSelection(nn.Layer):
    """Which boxes the second stage learns from: proposals, and the objects themselves."""

    def __init__(self, matcher: Matcher, sampler: Sampler) -> None:
        super().__init__()
        self.matcher = matcher
        self.sampler = sampler

    def forward(self, proposals: Sequence[paddle.Tensor], objects: Sequence[Objects]) -> Chosen:
        """Return what is drawn of `proposals` [P, 4] of each image and of its objects' boxes."""
        boxes, labels, matches = [], [], []
        for found, one in zip(proposals, objects, strict=True):
            boxes.append(paddle.concat([found, one["boxes"]]))
            matches.append(self.matcher(boxes[-1], one["boxes"]))
            classes = labels_of(array_of(matches[-1]), array_of(one["labels"]))
            labels.append(indices(classes, one["labels"]))
        drawn = zip(*self.sampler(labels), strict=True)
        rows = [paddle.sort(concat([p, n])) for p, n in drawn]
        return Chosen(
            [x[row] for x, row in zip(boxes, rows, strict=True)],
            [x[row] for x, row in zip(labels, rows, strict=True)],
            [paddle.clip(x[row], min=0) for x, row in zip(matches, rows, strict=True)],
        )


class RoITeaching(nn.Layer):
    """What the second stage is taught: which boxes, their targets, and the losses.

    Args:
        select: the boxes.
        weights: what the targets of offsets are multiplied by.
        mask_size: of the masks' sides.
    """

    def __init__(self, select: BoxSelection, weights: Sequence[float], mask_size: int) -> None:
        super().__init__()
        self.select = select
        self.box_targets = BoxTargets(weights)
        self.mask_targets = MaskTargets(mask_size)
        self.box_loss = BoxLoss()
        self.mask_loss = MaskLoss()

    def boxes(
        self,
        logits: paddle.Tensor,
        deltas: paddle.Tensor,
        chosen: Chosen,
        objects: Sequence[Objects],
    ) -> dict[str, paddle.Tensor]:
        """Return `loss_classifier` and `loss_box_reg` of `chosen`: K boxes of all images.

        logits: [K, C]. deltas: [K, C * 4].
        """
        things = chosen.objects()
        own = [one["boxes"][m] for one, m in zip(objects, things.matches, strict=True)]
        moves = self.box_targets(concat(things.boxes), concat(own))
        found: dict[str, paddle.Tensor] = self.box_loss(
            logits, deltas, paddle.concat(chosen.labels), moves
        )
        return found

    def masks(
        self, logits: paddle.Tensor, things: Chosen, objects: Sequence[Objects]
    ) -> paddle.Tensor:
        """Return the loss of `logits` [P, C, M, M] of `things`, P boxes that are objects."""
        parts = [
            self.mask_targets(boxes, one["masks"], places)
            for boxes, one, places in zip(things.boxes, objects, things.matches, strict=True)
            if len(boxes)
        ]
        found: paddle.Tensor = self.mask_loss(
            logits, paddle.concat(things.labels), paddle.concat(parts)
        )
        return found


def untaught(*parts: nn.Layer) -> paddle.Tensor:
    """Return 0, a loss with zero gradients of all parameters of `parts`, which no box has met."""
    sums = [parameter.sum() for part in parts for parameter in part.parameters()]
    return paddle.stack(sums).sum() * 0


def indices(places: np.ndarray, like: paddle.Tensor) -> paddle.Tensor:
    """Return `places` as an int64 tensor beside `like`."""
    return paddle.to_tensor(places.astype(np.int64))
