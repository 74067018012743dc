"""Region proposals (Ren et al., NeurIPS 2015) on a pyramid, in torchvision's names (rpn.py)."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.instances.sizes import Size, one_each, padded
from paddle_impl.losses.pixels import wide
from paddle_impl.models.detection.anchors import AnchorGenerator
from paddle_impl.models.detection.boxes import clip, decode, descending, grouped_nms, large
from paddle_impl.models.detection.teaching import Objects, RPNTeaching

LEAST_SIDE = 1e-3  # pixels, of a proposal
STD = 0.01  # of the head's convolutions
WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # of the offsets


class RPNHead(nn.Layer):
    """Objectness and offsets of every anchor, by the same convolutions on each level.

    Args:
        channels: of the levels, and of the convolutions.
        shapes: anchors in a cell.
        depth: 3x3 convolutions.
    """

    def __init__(self, channels: int, shapes: int, depth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *[
                nn.Sequential(nn.Conv2D(channels, channels, 3, padding=1), nn.ReLU())
                for _ in range(depth)
            ]
        )
        self.cls_logits = nn.Conv2D(channels, shapes, 1)
        self.bbox_pred = nn.Conv2D(channels, shapes * 4, 1)
        for layer in self.sublayers():
            if isinstance(layer, nn.Conv2D) and layer.bias is not None:
                nn.initializer.Normal(0.0, STD)(layer.weight)
                nn.initializer.Constant(0.0)(layer.bias)

    def forward(
        self, levels: Sequence[paddle.Tensor]
    ) -> tuple[list[paddle.Tensor], list[paddle.Tensor]]:
        """Return logits [N, shapes, h, w] and offsets [N, shapes * 4, h, w] of each level."""
        maps = [self.conv(x) for x in levels]
        return [self.cls_logits(x) for x in maps], [self.bbox_pred(x) for x in maps]


class ProposalSelection(nn.Layer):
    """The discrete step: which of the decoded anchors become proposals.

    Args:
        before: most of a level that enter the suppression, in eval and in train mode.
        after: most of an image that leave it, in eval and in train mode.
        nms_thresh: overlap above which the worse of two boxes of a level goes.
        score_thresh: least probability.
    """

    def __init__(
        self,
        before: tuple[int, int],
        after: tuple[int, int],
        nms_thresh: float,
        score_thresh: float,
    ) -> None:
        super().__init__()
        self.before = before
        self.after = after
        self.nms_thresh = nms_thresh
        self.score_thresh = score_thresh

    def forward(
        self, boxes: Sequence[paddle.Tensor], logits: Sequence[paddle.Tensor], sizes: Sequence[Size]
    ) -> tuple[list[paddle.Tensor], list[paddle.Tensor]]:
        """Return the boxes [P, 4] and the scores [P] of each image, by falling score.

        boxes [N, anchors, 4] and logits [N, anchors] are of each level, sizes of each image.
        """
        found = [self.of_image(i, boxes, logits, size) for i, size in enumerate(sizes)]
        return [one for one, _ in found], [scores for _, scores in found]

    def of_image(
        self, i: int, boxes: Sequence[paddle.Tensor], logits: Sequence[paddle.Tensor], size: Size
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Return the boxes and the scores of image `i`."""
        before = self.before[int(self.training)]
        best = [descending(level[i])[:before] for level in logits]
        of_level = [paddle.full_like(places, n) for n, places in enumerate(best)]
        candidates = paddle.concat([x[i][places] for x, places in zip(boxes, best, strict=True)])
        scores = paddle.concat([x[i][places] for x, places in zip(logits, best, strict=True)])
        candidates, scores = clip(candidates, size), F.sigmoid(scores)
        fit = large(candidates, LEAST_SIDE) & (scores >= self.score_thresh)
        places = paddle.nonzero(fit)[:, 0]
        candidates, scores = candidates[places], scores[places]
        levels = paddle.concat(of_level)[places]
        kept = grouped_nms(candidates, scores, levels, self.nms_thresh)
        kept = kept[: self.after[int(self.training)]]
        return candidates[kept], scores[kept]


class RegionProposalNetwork(nn.Layer):
    """Head, anchors and selection. No gradient goes through what is proposed.

    teach: what they learn from in train mode.
    """

    def __init__(
        self,
        anchor_generator: AnchorGenerator,
        head: RPNHead,
        select: ProposalSelection,
        teach: RPNTeaching,
    ) -> None:
        super().__init__()
        self.anchor_generator = anchor_generator
        self.head = head
        self.select = select
        self.teach = teach

    def forward(
        self,
        features: Sequence[paddle.Tensor],
        sizes: Sequence[Size],
        objects: Sequence[Objects] | None = None,
    ) -> tuple[list[paddle.Tensor], dict[str, paddle.Tensor]]:
        """Return the proposals [P, 4] of each image, by falling score, and the losses by name.

        features: levels [N, C, h, w], fine to coarse. sizes: (height, width) of each image before
        padding. objects: of each image, in pixels of the batch; without them there are no losses.
        """
        logits, deltas = (list(map(wide, maps)) for maps in self.head(features))
        anchors = self.anchor_generator(logits, padded(sizes))
        proposals = self.proposals(logits, deltas, anchors, sizes)[0]
        if objects is None:
            return proposals, {}
        flat = paddle.concat([by_anchor(x, 1) for x in logits], axis=1)[..., 0]
        deltas_of_all = paddle.concat([by_anchor(x, 4) for x in deltas], axis=1)
        return proposals, self.teach(flat, deltas_of_all, paddle.concat(anchors), objects)

    def propose(
        self, features: Sequence[paddle.Tensor], size: Size | Sequence[Size]
    ) -> tuple[list[paddle.Tensor], list[paddle.Tensor]]:
        """Return the proposals [P, 4] and their scores [P] of each image; size as `one_each`."""
        sizes = one_each(size, features[0].shape[0])
        logits, deltas = (list(map(wide, maps)) for maps in self.head(features))
        anchors = self.anchor_generator(logits, padded(sizes))
        return self.proposals(logits, deltas, anchors, sizes)

    def proposals(
        self,
        logits: Sequence[paddle.Tensor],
        deltas: Sequence[paddle.Tensor],
        anchors: Sequence[paddle.Tensor],
        sizes: Sequence[Size],
    ) -> tuple[list[paddle.Tensor], list[paddle.Tensor]]:
        """Return boxes and scores of what the head said of the anchors of each level."""
        boxes = [self.decoded(x, level) for x, level in zip(deltas, anchors, strict=True)]
        found: tuple[list[paddle.Tensor], list[paddle.Tensor]] = self.select(
            boxes, [by_anchor(x, 1)[..., 0].detach() for x in logits], sizes
        )
        return found

    def decoded(self, deltas: paddle.Tensor, anchors: paddle.Tensor) -> paddle.Tensor:
        """Return the boxes [N, anchors, 4] that `deltas` [N, shapes * 4, h, w] tell."""
        deltas = by_anchor(deltas.detach(), 4)
        return paddle.stack([decode(one, anchors, WEIGHTS)[:, 0] for one in deltas])


def by_anchor(x: paddle.Tensor, values: int) -> paddle.Tensor:
    """Return `x` [N, shapes * values, h, w] as [N, h * w * shapes, values]."""
    images, _, height, width = x.shape
    x = x.reshape([images, -1, values, height, width]).transpose([0, 3, 4, 1, 2])
    return x.reshape([images, -1, values])
