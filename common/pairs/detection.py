"""Rows of nets that find objects, each with its mask."""

from common.pairs.backbones import RESNET50
from common.pairs.pair import Pair


def _solo(module: str, paper: str) -> Pair:
    return Pair(
        module=f"detection.{module}",
        factory=module,
        settings={"layers": RESNET50},
        default_input=(1, 3, 64, 128),
        rules=(),
        classes_key="mask_head.conv_cls.weight",
        task="instances",
        paper=paper,
        source="https://github.com/open-mmlab/mmdetection",
        weights_licence="Apache-2.0",
    )


def _mask_rcnn(version: int, paper: str) -> Pair:
    return Pair(
        module="detection.mask_rcnn",
        factory="mask_rcnn",
        settings={"layers": RESNET50, "version": version},
        default_input=(1, 3, 64, 96),
        rules=(),
        classes_key="roi_heads.box_predictor.cls_score.weight",
        more_classes=1,  # the first: background
        task="instances",
        paper=paper,
        source="https://github.com/pytorch/vision",
        weights_licence="BSD-3-Clause",
    )


DETECTION: dict[str, Pair] = {
    "solo_r50_fpn": _solo("solo", "SOLO: Segmenting Objects by Locations, ECCV 2020"),
    "solov2_r50_fpn": _solo(
        "solov2", "SOLOv2: Dynamic and Fast Instance Segmentation, NeurIPS 2020"
    ),
    "mask_rcnn_r50_fpn": _mask_rcnn(1, "Mask R-CNN, ICCV 2017"),
    "mask_rcnn_r50_fpn_v2": _mask_rcnn(
        2, "Benchmarking Detection Transfer Learning with Vision Transformers, 2021"
    ),
}
