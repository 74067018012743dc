"""Box and mask branches of Mask R-CNN (He et al., ICCV 2017), in torchvision's names."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from common.instances.sizes import Size
from torch_ref.layers import BatchNorm2d, fan_in_uniform_, kaiming_normal_
from torch_ref.losses.pixels import wide
from torch_ref.models.detection.boxes import clip, decode, grouped_nms, large, split
from torch_ref.models.detection.roi_align import MultiScaleRoIAlign
from torch_ref.models.detection.teaching import Chosen, Objects, RoITeaching, untaught

LEAST_SIDE = 1e-2  # pixels, of a detection
BINS, MASK_BINS = 7, 14  # of a side

Detection = dict[str, torch.Tensor]


class TwoMLPHead(nn.Module):
    """Two linear layers and ReLUs. [K, C, 7, 7] -> [K, out]."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.fc6 = linear(channels * BINS * BINS, out)
        self.fc7 = linear(out, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features of what is pooled."""
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


class FastRCNNPredictor(nn.Module):
    """Class logits [K, classes] and offsets [K, classes * 4] of features [K, C].

    background_last: as detectron2's layers have it, and without offsets. What is returned begins
    with the background all the same, whose offsets are 0.
    """

    def __init__(self, channels: int, num_classes: int, background_last: bool = False) -> None:
        super().__init__()
        self.background_last = background_last
        self.cls_score = linear(channels, num_classes)
        self.bbox_pred = linear(channels, (num_classes - background_last) * 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits and the offsets."""
        logits, offsets = self.cls_score(x), self.bbox_pred(x)
        if not self.background_last:
            return logits, offsets
        logits = torch.cat([logits[:, -1:], logits[:, :-1]], dim=1)
        return logits, torch.cat([torch.zeros_like(offsets[:, :4]), offsets], dim=1)


class MaskRCNNPredictor(nn.Module):
    """Mask logits of every class. [K, C, M, M] -> [K, classes, 2 M, 2 M].

    background_last: the background has no channel in the layers; its logits are 0.
    """

    def __init__(self, channels: int, num_classes: int, background_last: bool = False) -> None:
        super().__init__()
        self.background_last = background_last
        self.conv5_mask = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.relu = nn.ReLU()
        self.mask_fcn_logits = nn.Conv2d(channels, num_classes - background_last, 1)
        for conv in (self.conv5_mask, self.mask_fcn_logits):
            fan_in_uniform_(conv.weight, conv.bias)
            kaiming_normal_(conv.weight, mode="fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits = self.mask_fcn_logits(self.relu(self.conv5_mask(x)))
        if not self.background_last:
            return logits
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


class Detections(nn.Module):
    """The discrete step: which boxes of which classes are found.

    Args:
        score_thresh: probability that one must exceed.
        nms_thresh: overlap above which the worse of two boxes of a class goes.
        per_image: most of an image.
        weights: what the offsets were multiplied by.
    """

    def __init__(
        self, score_thresh: float, nms_thresh: float, per_image: int, weights: Sequence[float]
    ) -> None:
        super().__init__()
        self.score_thresh = score_thresh
        self.nms_thresh = nms_thresh
        self.per_image = per_image
        self.weights = tuple(weights)

    def forward(
        self,
        class_logits: torch.Tensor,
        box_regression: torch.Tensor,
        proposals: Sequence[torch.Tensor],
        sizes: Sequence[Size],
    ) -> list[Detection]:
        """Return {boxes [D, 4], labels int64 [D], scores [D]} of each image, by falling score.

        class_logits [K, classes] and box_regression [K, classes * 4] are of the proposals [P, 4]
        of all images. Class 0 is the background.
        """
        scores = F.softmax(class_logits, dim=1)
        boxes = decode(box_regression, torch.cat(list(proposals)), self.weights)
        counts = [len(one) for one in proposals]
        parts = zip(split(boxes, counts), split(scores, counts), sizes, strict=True)
        return [self.of_image(*part) for part in parts]

    def of_image(self, boxes: torch.Tensor, scores: torch.Tensor, size: Size) -> Detection:
        """Return what is found among `boxes` [P, classes, 4] of `scores` [P, classes]."""
        labels = torch.arange(scores.shape[1], device=scores.device).expand(list(scores.shape))
        boxes = clip(boxes, size)[:, 1:].reshape([-1, 4])
        scores, labels = scores[:, 1:].reshape([-1]), labels[:, 1:].reshape([-1])
        fit = (scores > self.score_thresh) & large(boxes, LEAST_SIDE)
        places = torch.nonzero(fit)[:, 0]
        boxes, scores, labels = boxes[places], scores[places], labels[places]
        kept = grouped_nms(boxes, scores, labels, self.nms_thresh)[: self.per_image]
        return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}


class FastRCNNConvFCHead(nn.Sequential):
    """Four 3x3 convolutions and a linear layer (version 2). [K, C, 7, 7] -> [K, out]."""

    def __init__(self, channels: int, out: int) -> None:
        convs = [conv_block(channels, norm=True) for _ in range(4)]
        flat = [nn.Flatten(), linear(channels * BINS * BINS, out), nn.ReLU()]
        super().__init__(*convs, *flat)


class MaskRCNNHeads(nn.Sequential):
    """Four 3x3 convolutions. [K, C, M, M] -> [K, C, M, M]."""

    def __init__(self, channels: int, norm: bool) -> None:
        super().__init__(*[conv_block(channels, norm) for _ in range(4)])


class RoIHeads(nn.Module):
    """What is found in the proposals: boxes, classes, scores and masks.

    Args:
        box_roi_pool, box_head, box_predictor: the branch of the boxes.
        detect: the discrete step behind it.
        mask_roi_pool, mask_head, mask_predictor: the branch of the masks.
        teach: what both learn from in train mode.
    """

    def __init__(
        self,
        box_roi_pool: MultiScaleRoIAlign,
        box_head: nn.Module,
        box_predictor: FastRCNNPredictor,
        detect: Detections,
        mask_roi_pool: MultiScaleRoIAlign,
        mask_head: MaskRCNNHeads,
        mask_predictor: MaskRCNNPredictor,
        teach: RoITeaching,
    ) -> None:
        super().__init__()
        self.box_roi_pool = box_roi_pool
        self.box_head = box_head
        self.box_predictor = box_predictor
        self.detect = detect
        self.mask_roi_pool = mask_roi_pool
        self.mask_head = mask_head
        self.mask_predictor = mask_predictor
        self.teach = teach

    def forward(
        self,
        features: Sequence[torch.Tensor],
        proposals: Sequence[torch.Tensor],
        sizes: Sequence[Size],
    ) -> list[Detection]:
        """Return {boxes, labels, scores, masks [D, 1, M, M] in 0..1} of each image.

        features: levels [N, C, h, w], fine to coarse. proposals: [P, 4] of each image. sizes:
        (height, width) of each image before padding.
        """
        if sum(map(len, proposals)):
            pooled = self.box_roi_pool(features, proposals, sizes)
            logits, deltas = self.box_predictor(self.box_head(pooled))
            found = self.detect(wide(logits), wide(deltas), proposals, sizes)
        else:  # the layers take no empty batch everywhere
            found = [nothing(features[0]) for _ in proposals]
        boxes = [one["boxes"] for one in found]
        masks = self.masks(features, boxes, [one["labels"] for one in found], sizes)
        return [{**one, "masks": part} for one, part in zip(found, masks, strict=True)]

    def masks(
        self,
        features: Sequence[torch.Tensor],
        boxes: Sequence[torch.Tensor],
        labels: Sequence[torch.Tensor],
        sizes: Sequence[Size],
    ) -> list[torch.Tensor]:
        """Return the probabilities [D, 1, M, M] of each image in its boxes of classes `labels`."""
        counts = [len(one) for one in boxes]
        if not sum(counts):
            side = 2 * self.mask_roi_pool.output_size
            return [features[0].new_zeros([0, 1, side, side]) for _ in boxes]
        pooled = self.mask_roi_pool(features, boxes, sizes)
        logits = wide(self.mask_predictor(self.mask_head(pooled)))
        rows = torch.arange(logits.shape[0], device=logits.device)
        of_label = logits[rows, torch.cat(list(labels))]
        return split(torch.sigmoid(of_label)[:, None], counts)

    def learn(
        self,
        features: Sequence[torch.Tensor],
        proposals: Sequence[torch.Tensor],
        sizes: Sequence[Size],
        objects: Sequence[Objects],
    ) -> dict[str, torch.Tensor]:
        """Return `loss_classifier`, `loss_box_reg` and `loss_mask`.

        As `forward`; objects: of each image, in pixels of the batch. Branches that no box meets
        have zero gradients.
        """
        chosen: Chosen = self.teach.select(proposals, objects)
        if sum(map(len, chosen.boxes)):
            pooled = self.box_roi_pool(features, chosen.boxes, sizes)
            logits, deltas = self.box_predictor(self.box_head(pooled))
            losses = self.teach.boxes(logits, deltas, chosen, objects)
        else:
            nothing = untaught(self.box_head, self.box_predictor)
            losses = {"loss_classifier": nothing, "loss_box_reg": nothing}
        things = chosen.objects()
        if not sum(map(len, things.boxes)):
            return {**losses, "loss_mask": untaught(self.mask_head, self.mask_predictor)}
        pooled = self.mask_roi_pool(features, things.boxes, sizes)
        logits = self.mask_predictor(self.mask_head(pooled))
        return {**losses, "loss_mask": self.teach.masks(logits, things, objects)}


def nothing(like: torch.Tensor) -> Detection:
    """Return what is found of an image without proposals, boxes and scores of `like`'s dtype."""
    boxes, scores = (like.new_zeros(shape) for shape in ([0, 4], [0]))
    return {"boxes": boxes, "labels": like.new_zeros([0], dtype=torch.int64), "scores": scores}


def conv_block(channels: int, norm: bool) -> nn.Sequential:
    """Return a 3x3 convolution, with BatchNorm in place of a bias if `norm`, and ReLU."""
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=not norm)
    kaiming_normal_(conv.weight, mode="fan_out")
    if conv.bias is None:
        return nn.Sequential(conv, BatchNorm2d(channels), nn.ReLU())
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.ReLU())


def linear(in_ch: int, out_ch: int) -> nn.Linear:
    """Return a linear layer, initialised as torch does by default."""
    layer = nn.Linear(in_ch, out_ch)
    nn.init.uniform_(layer.weight, -1 / math.sqrt(in_ch), 1 / math.sqrt(in_ch))
    nn.init.uniform_(layer.bias, -1 / math.sqrt(in_ch), 1 / math.sqrt(in_ch))
    return layer
