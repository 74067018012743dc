"""Reference nets with seeded weights for checks: no statistic is trivial, no sign is missing."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torch_ref import build_model
from torch_ref.layers import FrozenBatchNorm2d, InPlaceABN
from torch_ref.models.detection.mask_rcnn import MaskRCNN

FAINT = 0.2  # share of He's deviation, of the larger of both fans
SPREAD = 0.5  # deviation of a detector's logits and offsets

Scaled = nn.modules.batchnorm._BatchNorm | nn.GroupNorm | FrozenBatchNorm2d


def build_seeded(name: str, seed: int = 0, **overrides: Any) -> nn.Module:
    """Build row `name` with seeded weights, float32, in train mode.

    Convolutions and linear layers keep the authors' initialisation, but weights that it leaves at
    zero, and convolutions so faint that outputs would hardly depend on the input
    (Panoptic-DeepLab's), become He-normal, and biases of zero N(0, 0.1). Normalisations get scales
    in [0.5, 1.5] (those of InPlaceABN negative in a fifth of the channels, as trained ones can be),
    biases and running means of N(0, 0.1) and running variances in [0.5, 2]. Heads of a
    detector are scaled to what trained ones return. The global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build_model(name, **overrides)
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm | FrozenBatchNorm2d):
                    _seed_norm(module)
                elif isinstance(module, nn.GroupNorm):
                    _seed_scale(module)
                elif isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
                    _seed_faint(module)
            if isinstance(net, MaskRCNN):
                seed_detector(net)
    return net


def _seed_faint(layer: nn.Linear | nn.modules.conv._ConvNd) -> None:
    if _is_faint(layer):
        nn.init.kaiming_normal_(layer.weight)
    if layer.bias is not None and not layer.bias.any():
        layer.bias.normal_(0.0, 0.1)


def _is_faint(layer: nn.Linear | nn.modules.conv._ConvNd) -> bool:
    if isinstance(layer, nn.Linear):
        return not layer.weight.any()
    out, *into = layer.weight.shape
    he = math.sqrt(2 / max(math.prod(into), out * math.prod(into[1:])))
    return bool(layer.weight.square().mean().sqrt() < FAINT * he)


def seed_detector(net: MaskRCNN) -> None:
    """Scale the heads: boxes stay near their anchors, and no rounding makes a score 1.

    Otherwise most boxes would be the whole image, and many equal ones.
    """
    net.eval()
    levels = net.backbone((torch.rand(1, 3, 64, 64) - 0.5) / net.transform.image_std[0])
    logits, deltas = net.rpn.head(levels)
    corners = torch.rand(16, 2) * 32
    boxes = torch.cat([corners, corners + 8 + torch.rand(16, 2) * 24], dim=1)
    heads = net.roi_heads
    pooled = heads.box_roi_pool(levels, [boxes], [(64, 64)])
    scores, offsets = heads.box_predictor(heads.box_head(pooled))
    net.train()
    _scale(net.rpn.head.cls_logits, logits, SPREAD)
    _scale(net.rpn.head.bbox_pred, deltas, SPREAD)
    _scale(heads.box_predictor.cls_score, [scores], 2 * SPREAD)
    _scale(heads.box_predictor.bbox_pred, [offsets], 2 * SPREAD)


def _scale(layer: nn.Linear | nn.Conv2d, outputs: Sequence[torch.Tensor], spread: float) -> None:
    """Let `outputs`, made by `layer`, deviate by about `spread`."""
    layer.weight *= spread / torch.cat([x.flatten() for x in outputs]).std()


def _seed_scale(norm: Scaled) -> None:
    norm.weight.uniform_(0.5, 1.5)
    norm.bias.normal_(0.0, 0.1)


def _seed_norm(norm: nn.modules.batchnorm._BatchNorm | FrozenBatchNorm2d) -> None:
    _seed_scale(norm)
    if isinstance(norm, InPlaceABN):
        norm.weight[torch.rand_like(norm.weight) < 0.2] *= -1
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.normal_(0.0, 0.1)
        norm.running_var.uniform_(0.5, 2.0)
