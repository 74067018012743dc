"""Mask R-CNN (He et al., ICCV 2017) on ResNet-50 and a feature pyramid.

Names, options and both versions are torchvision's (models/detection/mask_rcnn.py). detectron2's
(modeling/meta_arch/rcnn.py) is the first version with other settings.
"""

from collections.abc import Sequence
from functools import partial

import paddle
from paddle import nn

from common.errors import ConfigError, UserError
from common.shapes import first_width
from paddle_impl.layers import BatchNorm2D, FrozenBatchNorm2D, freeze_parameters
from paddle_impl.losses.pixels import wide
from paddle_impl.models.backbones.resnet import Norm, ResNet
from paddle_impl.models.detection.anchors import RATIOS, SIZES, AnchorGenerator
from paddle_impl.models.detection.fpn import BlockFPN
from paddle_impl.models.detection.roi_align import SIDE, MultiScaleRoIAlign
from paddle_impl.models.detection.roi_heads import (
    BINS,
    MASK_BINS,
    Detection,
    Detections,
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    MaskRCNNHeads,
    MaskRCNNPredictor,
    RoIHeads,
    TwoMLPHead,
)
from paddle_impl.models.detection.rpn import (
    WEIGHTS,
    ProposalSelection,
    RegionProposalNetwork,
    RPNHead,
)
from paddle_impl.models.detection.teaching import (
    BoxSelection,
    BoxTargets,
    Matcher,
    Objects,
    RoITeaching,
    RPNTeaching,
    Sampler,
)
from paddle_impl.models.detection.transform import RCNNTransform, objects_in_batch

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
NORMS = ("frozen", "batch")
PARTS = ("layer4", "layer3", "layer2", "layer1", "conv1")  # in the order in which they are trained


class BackboneWithFPN(nn.Layer):
    """ResNet and pyramid. [N, 3, H, W] -> five levels [N, 4 base, H / s, W / s], s = 4 to 64."""

    def __init__(self, body: ResNet, norm: bool) -> None:
        super().__init__()
        base = body.base
        self.body = body
        self.fpn = BlockFPN([base * 4, base * 8, base * 16, base * 32], base * 4, norm)

    def forward(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        """Return the levels, fine to coarse, of the normalised image `x`."""
        return self.fpn(self.body(x))


class MaskRCNN(nn.Layer):
    """Images [3, H, W], RGB in 0..1 and of any size, to the objects that are found in each."""

    def __init__(
        self,
        transform: RCNNTransform,
        backbone: BackboneWithFPN,
        rpn: RegionProposalNetwork,
        roi_heads: RoIHeads,
    ) -> None:
        super().__init__()
        self.transform = transform
        self.backbone = backbone
        self.rpn = rpn
        self.roi_heads = roi_heads

    def forward(
        self, images: Sequence[paddle.Tensor], targets: Sequence[Objects] | None = None
    ) -> list[Detection] | dict[str, paddle.Tensor]:
        """Return the objects of each of `images` ([3, H, W] each, or [N, 3, H, W]), best first.

        boxes [D, 4] in pixels of the image, labels int64 [D] from 1 on, scores [D], masks
        [D, 1, H, W], probabilities. In train mode the five losses of `targets`, scalars by name:
        of each image boxes, labels and masks as `check_objects` says. Raises UserError for
        targets that misfit.
        """
        originals = [(image.shape[-2], image.shape[-1]) for image in images]
        batch, sizes = self.transform(images)
        if self.training:
            if targets is None:
                raise UserError("Mask R-CNN computes its losses in train mode: give it targets")
            classes = self.roi_heads.box_predictor.cls_score.bias.shape[0]
            objects = objects_in_batch(targets, originals, sizes, classes, batch)
            features = list(map(wide, self.backbone(batch)))
            proposals, losses = self.rpn(features, sizes, objects)
            return {**self.roi_heads.learn(features, proposals, sizes, objects), **losses}
        features = list(map(wide, self.backbone(batch)))
        found = self.roi_heads(features, self.rpn(features, sizes)[0], sizes)
        return self.transform.restored(found, sizes, originals)


def make_backbone(
    layers: tuple[int, ...],
    norm: str,
    frozen_eps: float,
    trainable: int,
    norm_fpn: bool,
    stride_in_1x1: bool,
    width: float,
) -> BackboneWithFPN:
    """Return the backbone, of which the `trainable` last parts of `PARTS` are trained.

    Raises ConfigError for an unknown `norm` and for a number of parts that there is not.
    """
    if norm not in NORMS:
        raise ConfigError(f"norm={norm!r} is not known; choose one of {NORMS}")
    if trainable not in range(len(PARTS) + 1):
        raise ConfigError(f"trainable_backbone_layers is {trainable}; set 0 to {len(PARTS)}")
    made: Norm = partial(FrozenBatchNorm2D, eps=frozen_eps) if norm == "frozen" else BatchNorm2D
    body = ResNet(layers, width=width, norm=made, stride_in_1x1=stride_in_1x1)
    for part in PARTS[trainable:]:
        freeze_parameters(getattr(body, part))
    if trainable < len(PARTS):
        freeze_parameters(body.bn1)
    return BackboneWithFPN(body, norm_fpn)


def mask_rcnn(
    layers: tuple[int, ...],
    version: int = 1,
    detectron2: bool = False,
    num_classes: int | None = None,
    min_size: int = 800,
    max_size: int = 1333,
    image_mean: Sequence[float] | None = None,
    image_std: Sequence[float] | None = None,
    rpn_pre_nms_top_n_train: int = 2000,
    rpn_pre_nms_top_n_test: int = 1000,
    rpn_post_nms_top_n_train: int = 2000,
    rpn_post_nms_top_n_test: int = 1000,
    rpn_nms_thresh: float = 0.7,
    rpn_fg_iou_thresh: float = 0.7,
    rpn_bg_iou_thresh: float = 0.3,
    rpn_batch_size_per_image: int = 256,
    rpn_positive_fraction: float = 0.5,
    rpn_score_thresh: float = 0.0,
    box_score_thresh: float = 0.05,
    box_nms_thresh: float = 0.5,
    box_detections_per_img: int = 100,
    box_fg_iou_thresh: float = 0.5,
    box_bg_iou_thresh: float = 0.5,
    box_batch_size_per_image: int = 512,
    box_positive_fraction: float = 0.25,
    bbox_reg_weights: Sequence[float] = BOX_WEIGHTS,
    trainable_backbone_layers: int = 3,
    norm: str | None = None,
    frozen_eps: float = 0.0,
    aligned: bool = False,
    sampling_ratio: int = 2,
    anchor_sizes: Sequence[int] = SIZES,
    rounded_anchors: bool = True,
    canonical_scale: int = SIDE,
    width: float = 1.0,
) -> MaskRCNN:
    """Build Mask R-CNN on ResNet-50 (by `layers`); the options are torchvision's, and some more.

    detectron2: its layers' order of classes (`FastRCNNPredictor`), blue first, strides in the 1x1
    convolutions. num_classes: with the background, which is class 0; None: of COCO, 91 (ids with
    gaps), detectron2's 81. norm: of the backbone,
    "frozen" (version 1) or "batch" (version 2). frozen_eps: 0 with the released weights, 1e-5
    where the backbone alone is torchvision's. aligned, sampling_ratio: of RoIAlign. anchor_sizes,
    rounded_anchors: of `AnchorGenerator`. canonical_scale: side of a box that is pooled from the
    third level. width: scales all channels. Raises ConfigError for what is not possible.
    """
    second, channels = version == 2, first_width(width) * 4
    num_classes = num_classes or (81 if detectron2 else 91)
    norm = ("batch" if second else "frozen") if norm is None else norm
    pool = partial(
        MultiScaleRoIAlign, sampling_ratio=sampling_ratio, aligned=aligned, side=canonical_scale
    )
    backbone = make_backbone(
        layers, norm, frozen_eps, trainable_backbone_layers, second, detectron2, width
    )
    rpn = RegionProposalNetwork(
        AnchorGenerator(anchor_sizes, rounded=rounded_anchors),
        RPNHead(channels, len(RATIOS), depth=2 if second else 1),
        ProposalSelection(
            (rpn_pre_nms_top_n_test, rpn_pre_nms_top_n_train),
            (rpn_post_nms_top_n_test, rpn_post_nms_top_n_train),
            rpn_nms_thresh,
            rpn_score_thresh,
        ),
        RPNTeaching(
            Matcher(rpn_fg_iou_thresh, rpn_bg_iou_thresh, best_of_each_object=True),
            Sampler(rpn_batch_size_per_image, rpn_positive_fraction, "rpn"),
            BoxTargets(WEIGHTS),
        ),
    )
    select = BoxSelection(
        Matcher(box_fg_iou_thresh, box_bg_iou_thresh, best_of_each_object=False),
        Sampler(box_batch_size_per_image, box_positive_fraction, "boxes"),
    )
    make_head = FastRCNNConvFCHead if second else TwoMLPHead
    roi_heads = RoIHeads(
        pool(BINS),
        make_head(channels, channels * 4),
        FastRCNNPredictor(channels * 4, num_classes, detectron2),
        Detections(box_score_thresh, box_nms_thresh, box_detections_per_img, bbox_reg_weights),
        pool(MASK_BINS),
        MaskRCNNHeads(channels, norm=second),
        MaskRCNNPredictor(channels, num_classes, detectron2),
        RoITeaching(select, bbox_reg_weights, 2 * MASK_BINS),
    )
    transform = RCNNTransform(min_size, max_size, image_mean, image_std, bgr=detectron2)
    return MaskRCNN(transform, backbone, rpn, roi_heads)
